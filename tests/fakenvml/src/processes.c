/* Who runs on a GPU: a list in one value, "pid:bytes[:gi:ci] …". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

/* A number or "-" (not available), and the ':' before it; at the end of the item: missing. */
static uint64_t next_number(const char **p, uint64_t missing) {
    char *end;
    if (**p == ' ') return missing; /* strtoull would read on into the next item */
    if (**p == ':') (*p)++;
    if (**p == '-') {
        (*p)++;
        return missing;
    }
    uint64_t v = strtoull(*p, &end, 10);
    if (end == *p) return missing;
    *p = end;
    return v;
}

static const char *next_item(const char *p) {
    p += strcspn(p, " ");
    return p + strspn(p, " ");
}

/* One entry of as many bytes as this driver writes: 16 lack the instances, 32 have the bytes that
 * confidential computing protects. The caller's struct is not asked about: nor do real drivers. */
static void put_process(char *out, size_t bytes, const nvmlProcessInfo_t *info) {
    memset(out, 0, bytes);
    memcpy(out, info, bytes < sizeof *info ? bytes : sizeof *info);
}

static nvmlReturn_t list_processes(const struct function *fn, nvmlDevice_t device, const char *key,
                                   unsigned *count, nvmlProcessInfo_t *out) {
    struct call call;
    const char *p;
    unsigned have = 0, room;
    uint64_t bytes = sizeof(nvmlProcessInfo_t);
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = count ? text(&call, KEY(key), &p) : NVML_INVALID_ARGUMENT;
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    number(&call, KEYS(KEY("processes.entry_bytes")), &bytes);
    room = out ? *count : 0;
    for (; *p; p = next_item(p), have++) {
        if (have >= room) continue;
        nvmlProcessInfo_t info = {0};
        info.pid = (uint32_t)next_number(&p, 0);
        info.usedGpuMemory = next_number(&p, NVML_VALUE_NOT_AVAILABLE);
        info.gpuInstanceId = (uint32_t)next_number(&p, NVML_NO_INSTANCE);
        info.computeInstanceId = (uint32_t)next_number(&p, NVML_NO_INSTANCE);
        put_process((char *)out + have * bytes, bytes, &info);
    }
    *count = have;
    return call_end(&call, have > room ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS);
}

#define PROCESSES(function, key)                                                             \
    FUNCTION(function)(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *out) {       \
        return list_processes(&fn_##function, device, key, count, out);                      \
    }
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, "processes.compute")
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, "processes.compute")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, "processes.graphics")
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, "processes.graphics")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v2, "processes.mps")
PROCESSES(nvmlDeviceGetMPSComputeRunningProcesses_v3, "processes.mps")

/* "pid:t_us:sm:mem:enc:dec …", t_us "-" for now: only what is newer than asked for. */
FUNCTION(nvmlDeviceGetProcessUtilization)(nvmlDevice_t device, nvmlProcessUtilizationSample_t *out,
                                          unsigned *count, uint64_t last_seen) {
    struct call call;
    const char *p;
    unsigned have = 0, room;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetProcessUtilization, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = count ? text(&call, KEY("process_utilization"), &p) : NVML_INVALID_ARGUMENT;
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    room = out ? *count : 0;
    for (; *p; p = next_item(p)) {
        nvmlProcessUtilizationSample_t s = {0};
        s.pid = (uint32_t)next_number(&p, 0);
        s.timeStamp = next_number(&p, now_us());
        s.smUtil = (uint32_t)next_number(&p, 0);
        s.memUtil = (uint32_t)next_number(&p, 0);
        s.encUtil = (uint32_t)next_number(&p, 0);
        s.decUtil = (uint32_t)next_number(&p, 0);
        if (s.timeStamp <= last_seen) continue;
        if (have < room) out[have] = s;
        have++;
    }
    *count = have;
    if (have == 0) return call_end(&call, NVML_NOT_FOUND); /* idle is not an error, but looks it */
    return call_end(&call, have > room ? NVML_INSUFFICIENT_SIZE : NVML_SUCCESS);
}
