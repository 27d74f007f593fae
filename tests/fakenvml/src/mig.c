/* MIG: instances of a GPU are units "gpu/instance" with facts, and handles, of their own. */
#include <string.h>

#include "call.h"

/* How many there can be; 0 or NOT_SUPPORTED on GPUs without MIG. */
FUNCTION(nvmlDeviceGetMaxMigDeviceCount)(nvmlDevice_t device, unsigned *count) {
    struct call call;
    uint64_t most = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetMaxMigDeviceCount, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = count ? number(&call, KEYS(KEY("max_mig_devices")), &most) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) *count = (unsigned)most;
    return call_end(&call, rc);
}

/* An index without an instance is a hole, as between instances on hardware. */
FUNCTION(nvmlDeviceGetMigDeviceHandleByIndex)(nvmlDevice_t device, unsigned index, nvmlDevice_t *out) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetMigDeviceHandleByIndex, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out || UNIT_MIG(call.unit) != 0 || index > 7) return call_end(&call, NVML_INVALID_ARGUMENT);
    unit_t unit = UNIT_MAKE(UNIT_GPU(call.unit), index + 1);
    if (!lookup(call.snapshot, unit, KEY("gpu_instance_id"))) return call_end(&call, NVML_NOT_FOUND);
    *out = device_handle(&call, unit);
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceGetDeviceHandleFromMigDeviceHandle)(nvmlDevice_t device, nvmlDevice_t *out) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetDeviceHandleFromMigDeviceHandle, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out || UNIT_MIG(call.unit) == 0) return call_end(&call, NVML_INVALID_ARGUMENT);
    *out = device_handle(&call, UNIT_MAKE(UNIT_GPU(call.unit), 0));
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceIsMigDeviceHandle)(nvmlDevice_t device, unsigned *out) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceIsMigDeviceHandle, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    *out = UNIT_MIG(call.unit) != 0;
    return call_end(&call, NVML_SUCCESS);
}

/* The position of a GPU among the GPUs, of an instance among its GPU's. */
FUNCTION(nvmlDeviceGetIndex)(nvmlDevice_t device, unsigned *out) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetIndex, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    *out = UNIT_MIG(call.unit) ? UNIT_MIG(call.unit) - 1 : UNIT_GPU(call.unit);
    return call_end(&call, NVML_SUCCESS);
}

static nvmlReturn_t instance_id(const struct function *fn, nvmlDevice_t device, const char *key,
                                unsigned *out) {
    struct call call;
    uint64_t id = 0;
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out || UNIT_MIG(call.unit) == 0) return call_end(&call, NVML_INVALID_ARGUMENT);
    rc = number(&call, KEYS(KEY(key)), &id);
    if (rc == NVML_SUCCESS) *out = (unsigned)id;
    return call_end(&call, rc);
}

FUNCTION(nvmlDeviceGetGpuInstanceId)(nvmlDevice_t device, unsigned *out) {
    return instance_id(&fn_nvmlDeviceGetGpuInstanceId, device, "gpu_instance_id", out);
}
FUNCTION(nvmlDeviceGetComputeInstanceId)(nvmlDevice_t device, unsigned *out) {
    return instance_id(&fn_nvmlDeviceGetComputeInstanceId, device, "compute_instance_id", out);
}

FUNCTION(nvmlDeviceGetAttributes_v2)(nvmlDevice_t device, void *out) {
    static const char *const COUNTS[] = {
        "attributes.multiprocessors", "attributes.copy_engines", "attributes.decoders",
        "attributes.encoders",        "attributes.jpegs",        "attributes.ofas",
        "attributes.gpu_slices",      "attributes.compute_slices",
    };
    struct {
        uint32_t counts[8];
        uint64_t memory_mib;
    } facts = {0};
    struct call call;
    uint64_t v = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetAttributes_v2, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? number(&call, KEYS(KEY(COUNTS[0])), &v) : NVML_INVALID_ARGUMENT;
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    for (int i = 0; i < 8; i++)
        if (number(&call, KEYS(KEY(COUNTS[i])), &v) == NVML_SUCCESS) facts.counts[i] = (uint32_t)v;
    number(&call, KEYS(KEY("attributes.memory_mib")), &facts.memory_mib);
    memcpy(out, &facts, sizeof facts);
    return call_end(&call, NVML_SUCCESS);
}
