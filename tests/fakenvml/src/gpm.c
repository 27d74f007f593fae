/*
 * GPM (Hopper and later). A sample keeps the snapshot it was taken from; a metric over
 * two samples is what the later one says, so a test states the mean it wants to see.
 */
#include <stdlib.h>

#include "call.h"

struct gpm_sample {
    struct snapshot *snapshot; /* NULL: allocated, not yet taken */
    unit_t unit;
};

FUNCTION(nvmlGpmQueryDeviceSupport)(nvmlDevice_t device, nvmlGpmSupport_t *out) {
    struct call call;
    uint64_t supported = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlGpmQueryDeviceSupport, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (out->version != 1 || version_refused(&call, out->version))
        return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    rc = number(&call, KEYS(KEY("gpm_supported")), &supported);
    out->isSupportedDevice = (uint32_t)supported; /* Ampere answers: success, 0 */
    return call_end(&call, rc == NVML_NOT_SUPPORTED ? NVML_SUCCESS : rc);
}

FUNCTION(nvmlGpmSampleAlloc)(nvmlGpmSample_t *out) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlGpmSampleAlloc);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    *out = calloc(1, sizeof **out);
    return call_end(&call, *out ? NVML_SUCCESS : NVML_MEMORY);
}

FUNCTION(nvmlGpmSampleFree)(nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlGpmSampleFree);
    if (rc != NVML_SUCCESS) return rc;
    if (!sample) return call_end(&call, NVML_INVALID_ARGUMENT);
    snapshot_release(sample->snapshot);
    free(sample);
    return call_end(&call, NVML_SUCCESS);
}

/* The call's snapshot moves into the sample. */
static nvmlReturn_t take_sample(struct call *call, unit_t unit, nvmlGpmSample_t sample) {
    uint64_t supported = 0;
    nvmlReturn_t rc = number(call, KEYS(KEY("gpm_supported")), &supported);
    if (rc == NVML_SUCCESS && !supported) rc = NVML_NOT_SUPPORTED;
    if (rc != NVML_SUCCESS) return call_end(call, rc);
    snapshot_release(sample->snapshot);
    sample->snapshot = call->snapshot;
    sample->unit = unit;
    return NVML_SUCCESS;
}

FUNCTION(nvmlGpmSampleGet)(nvmlDevice_t device, nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlGpmSampleGet, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!sample) return call_end(&call, NVML_INVALID_ARGUMENT);
    unit_t unit = call.unit;
    call.unit = UNIT_MAKE(UNIT_GPU(unit), 0); /* support is a fact of the GPU */
    return take_sample(&call, unit, sample);
}

FUNCTION(nvmlGpmMigSampleGet)(nvmlDevice_t device, unsigned instance, nvmlGpmSample_t sample) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlGpmMigSampleGet, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!sample) return call_end(&call, NVML_INVALID_ARGUMENT);
    for (uint32_t mig = 1; mig <= 8; mig++) {
        struct call at = {.snapshot = call.snapshot, .unit = UNIT_MAKE(UNIT_GPU(call.unit), mig)};
        uint64_t id = 0;
        if (number(&at, KEYS(KEY("gpu_instance_id")), &id) == NVML_SUCCESS && id == instance)
            return take_sample(&call, at.unit, sample);
    }
    return call_end(&call, NVML_NOT_FOUND);
}

static void read_metric(const struct gpm_sample *sample, nvmlGpmMetric_t *metric) {
    const struct value *v = lookup(sample->snapshot, sample->unit, AT("gpm", metric->metricId));
    uint64_t integer;
    metric->shortName = metric->longName = metric->unit = NULL;
    metric->value = 0;
    metric->nvmlReturn = v ? v->error : NVML_NOT_SUPPORTED;
    if (v && !v->error && v->shape == SHAPE_TEXT) metric->nvmlReturn = NVML_UNKNOWN;
    if (metric->nvmlReturn == NVML_SUCCESS) evaluate(sample->snapshot, v, &integer, &metric->value);
}

FUNCTION(nvmlGpmMetricsGet)(nvmlGpmMetricsGet_t *get) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlGpmMetricsGet);
    if (rc != NVML_SUCCESS) return rc;
    if (!get) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (get->version != 1) return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    const struct gpm_sample *first = get->sample1, *second = get->sample2;
    if (!first || !second || first == second || !first->snapshot || !second->snapshot ||
        first->unit != second->unit || get->numMetrics > NVML_GPM_METRIC_MAX)
        return call_end(&call, NVML_INVALID_ARGUMENT);
    for (uint32_t i = 0; i < get->numMetrics; i++) read_metric(second, &get->metrics[i]);
    return call_end(&call, NVML_SUCCESS);
}
