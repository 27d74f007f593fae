/* What is asked without a GPU: versions, and how to come by a handle. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "call.h"

/* Own wording: pynvml prints its own texts, this is for callers of the C function. */
EXPORT const char *nvmlErrorString(nvmlReturn_t code) {
    static const struct {
        nvmlReturn_t code;
        const char *text;
    } TEXTS[] = {
        {0, "Success"},
        {1, "Uninitialized"},
        {2, "Invalid Argument"},
        {3, "Not Supported"},
        {4, "Insufficient Permissions"},
        {6, "Not Found"},
        {7, "Insufficient Size"},
        {9, "Driver Not Loaded"},
        {10, "Timeout"},
        {13, "Function Not Found"},
        {15, "GPU is lost"},
        {16, "GPU requires reset"},
        {18, "Driver/library version mismatch"},
        {25, "Argument version mismatch"},
        {26, "Requested functionality has been deprecated"},
    };
    for (size_t i = 0; i < sizeof TEXTS / sizeof *TEXTS; i++)
        if (TEXTS[i].code == code) return TEXTS[i].text;
    return "Unknown Error";
}

static nvmlReturn_t system_text(const struct function *fn, const char *name, char *out, unsigned size) {
    struct call call;
    const char *from;
    nvmlReturn_t rc = call_begin_system(&call, fn);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? text(&call, KEY(name), &from) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) rc = copy_text(from, out, size);
    return call_end(&call, rc);
}

static nvmlReturn_t system_number(const struct function *fn, const char *name, int *out) {
    struct call call;
    uint64_t value = 0;
    nvmlReturn_t rc = call_begin_system(&call, fn);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? number(&call, KEYS(KEY(name)), &value) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) *out = (int)value;
    return call_end(&call, rc);
}

FUNCTION(nvmlSystemGetDriverVersion)(char *version, unsigned size) {
    return system_text(&fn_nvmlSystemGetDriverVersion, "driver_version", version, size);
}
FUNCTION(nvmlSystemGetNVMLVersion)(char *version, unsigned size) {
    return system_text(&fn_nvmlSystemGetNVMLVersion, "nvml_version", version, size);
}
FUNCTION(nvmlSystemGetCudaDriverVersion)(int *version) {
    return system_number(&fn_nvmlSystemGetCudaDriverVersion, "cuda_version", version);
}
FUNCTION(nvmlSystemGetCudaDriverVersion_v2)(int *version) {
    return system_number(&fn_nvmlSystemGetCudaDriverVersion_v2, "cuda_version", version);
}

FUNCTION(nvmlSystemGetProcessName)(unsigned pid, char *name, unsigned size) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlSystemGetProcessName);
    if (rc != NVML_SUCCESS) return rc;
    char path[64], line[4096] = "";
    snprintf(path, sizeof path, "/proc/%u/cmdline", pid);
    FILE *file = fopen(path, "re");
    if (!file) return call_end(&call, NVML_NOT_FOUND);
    size_t n = fread(line, 1, sizeof line - 1, file);
    fclose(file);
    line[n] = '\0';
    return call_end(&call, name ? copy_text(line, name, size) : NVML_INVALID_ARGUMENT);
}

FUNCTION(nvmlDeviceGetCount_v2)(unsigned *count) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlDeviceGetCount_v2);
    if (rc != NVML_SUCCESS) return rc;
    if (!count) return call_end(&call, NVML_INVALID_ARGUMENT);
    *count = call.snapshot->gpus; /* a lost GPU still counts, as on hardware */
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceGetHandleByIndex_v2)(unsigned index, nvmlDevice_t *device) {
    struct call call;
    if (index >= MAX_GPUS) index = MAX_GPUS; /* refused below, as any index beyond the last */
    nvmlReturn_t rc = call_begin_unit(&call, &fn_nvmlDeviceGetHandleByIndex_v2, UNIT_MAKE(index, 0));
    if (rc != NVML_SUCCESS) return rc;
    if (!device) return call_end(&call, NVML_INVALID_ARGUMENT);
    *device = device_handle(&call, call.unit);
    return call_end(&call, NVML_SUCCESS);
}

/* The domain may be written with four or eight digits. */
static bool same_bus_id(const char *a, const char *b) {
    unsigned x[4], y[4];
    return sscanf(a, "%x:%x:%x.%x", &x[0], &x[1], &x[2], &x[3]) >= 3 &&
           sscanf(b, "%x:%x:%x.%x", &y[0], &y[1], &y[2], &y[3]) >= 3 && memcmp(x, y, 3 * sizeof *x) == 0;
}

static bool same_text(const char *a, const char *b) { return strcmp(a, b) == 0; }

/* Finds the unit, then admits the call for it: a lost GPU answers "lost" here too. */
static nvmlReturn_t handle_by(const struct function *fn, const char *key, const char *wanted,
                              bool (*same)(const char *, const char *), nvmlDevice_t *device) {
    struct call call;
    struct snapshot *s = snapshot_acquire(false);
    unit_t found = UNIT_SYSTEM;
    for (uint32_t gpu = 0; s && wanted && gpu < s->gpus; gpu++) {
        for (uint32_t mig = 0; mig <= 8; mig++) {
            const struct value *v = lookup(s, UNIT_MAKE(gpu, mig), KEY(key));
            if (v && !v->error && same(v->text, wanted)) found = UNIT_MAKE(gpu, mig);
        }
    }
    snapshot_release(s);
    nvmlReturn_t rc = found == UNIT_SYSTEM ? call_begin_system(&call, fn) : call_begin_unit(&call, fn, found);
    if (rc != NVML_SUCCESS) return rc;
    if (!wanted || !device) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (found == UNIT_SYSTEM) return call_end(&call, NVML_NOT_FOUND);
    *device = device_handle(&call, found);
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceGetHandleByUUID)(const char *uuid, nvmlDevice_t *device) {
    return handle_by(&fn_nvmlDeviceGetHandleByUUID, "uuid", uuid, same_text, device);
}
FUNCTION(nvmlDeviceGetHandleBySerial)(const char *serial, nvmlDevice_t *device) {
    return handle_by(&fn_nvmlDeviceGetHandleBySerial, "serial", serial, same_text, device);
}
FUNCTION(nvmlDeviceGetHandleByPciBusId_v2)(const char *bus_id, nvmlDevice_t *device) {
    return handle_by(&fn_nvmlDeviceGetHandleByPciBusId_v2, "pci_bus_id", bus_id, same_bus_id, device);
}
