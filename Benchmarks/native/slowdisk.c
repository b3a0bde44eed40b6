/* A disk that takes two milliseconds to sync, for LD_PRELOAD under PostgreSQL: fdatasync() waits that long and syncs
 * nothing, so that every machine has the same disk. For temporary clusters only.
 *
 *   cc -O2 -shared -fPIC -o slowdisk.so slowdisk.c */
#include <time.h>

int fdatasync(int descriptor) {
    struct timespec left = { .tv_nsec = 2000000 };
    (void)descriptor;
    while (nanosleep(&left, &left) != 0) {}
    return 0;
}
