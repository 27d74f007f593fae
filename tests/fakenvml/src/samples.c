/* nvmlDeviceGetSamples: the driver's own short history of a reading. */
#include <stdlib.h>
#include <string.h>

#include "call.h"

#define RING 120 /* what the driver's power buffer holds, about */

/* One sample: stored if there is room, counted always. */
struct sink {
    nvmlSample_t *out;
    unsigned room, have;
    uint64_t after;
};

static void put(struct sink *sink, uint64_t time, uint64_t value) {
    if (time <= sink->after) return;
    if (sink->have < sink->room) {
        memset(&sink->out[sink->have], 0, sizeof *sink->out);
        sink->out[sink->have].timeStamp = time;
        sink->out[sink->have].sampleValue.ullVal = value;
    }
    sink->have++;
}

/* "1000:330000 101000:331000": exactly these. */
static void listed(const char *p, struct sink *sink) {
    while (*p) {
        char *end;
        uint64_t time = strtoull(p, &end, 10);
        if (*end != ':') return;
        put(sink, time, strtoull(end + 1, &end, 10));
        p = end + strspn(end, " ");
    }
}

/* "auto:100000:300000,310000": a sample at each multiple of the period up to now, whose
 * value follows from its time alone: whoever reads, and however often, sees the same. */
static nvmlReturn_t automatic(const char *p, struct sink *sink) {
    uint64_t values[4096];
    unsigned count = 0;
    char *end;
    uint64_t period = strtoull(p, &end, 10);
    while (count < 4096 && (*end == ':' || *end == ',')) values[count++] = strtoull(end + 1, &end, 10);
    if (period == 0 || count == 0) return NVML_UNKNOWN;
    uint64_t last = now_us() / period;
    for (uint64_t k = last > RING ? last - RING + 1 : 1; k <= last; k++)
        put(sink, k * period, values[k % count]);
    return NVML_SUCCESS;
}

FUNCTION(nvmlDeviceGetSamples)(nvmlDevice_t device, unsigned type, uint64_t last_seen, unsigned *value_type,
                               unsigned *count, nvmlSample_t *out) {
    struct call call;
    const char *p;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetSamples, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = value_type && count ? text(&call, AT("samples", type), &p) : NVML_INVALID_ARGUMENT;
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    struct sink sink = {.out = out, .room = out ? *count : 0, .after = last_seen};
    if (strncmp(p, "auto:", 5) == 0) rc = automatic(p + 5, &sink);
    else listed(p, &sink);
    if (rc == NVML_SUCCESS && sink.have == 0) rc = NVML_NOT_FOUND;
    /* A sample may be born between the call for the size and the call for the data: the
     * oldest go out, the rest comes next time. */
    *count = out && sink.have > sink.room ? sink.room : sink.have;
    *value_type = TYPE_U32;
    return call_end(&call, rc);
}
