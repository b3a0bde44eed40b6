#define _GNU_SOURCE
#include "CLinux.h"
#include <string.h>

void *find_bytes(const void *bytes, size_t count, const void *needle, size_t needleCount) {
    return memmem(bytes, count, needle, needleCount);
}
