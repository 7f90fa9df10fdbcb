#include "limits.h"

#include <sys/param.h>
#include <sys/resource.h>

uint64_t limits_files(uint64_t wanted, uint64_t most)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0; // no such kernel
    uint64_t before = limit.rlim_cur;
    limit.rlim_cur = MIN(MIN(MAX(before, wanted), limit.rlim_max), most);
    if (limit.rlim_cur == before || setrlimit(RLIMIT_NOFILE, &limit) == 0)
        return limit.rlim_cur;
    return before;
}
