#pragma once
// What Swift's Glibc module leaves out.
#include <stddef.h>
#include <sys/epoll.h>

void *find_bytes(const void *bytes, size_t count, const void *needle, size_t needleCount);
