/*
 * The getters of one GPU: each line says which facts answer a function. Where NVML gives
 * one fact in two ways (an energy counter as a function and as field 83), the field is
 * the fact and the function falls back to it; a key of its own overrides.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "call.h"

/* ---------------------------------------------------------------- shapes of getters */

static nvmlReturn_t get_number(const struct function *fn, nvmlDevice_t device, const struct key *keys,
                               void *out, size_t size) {
    struct call call;
    uint64_t value = 0;
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? number(&call, keys, &value) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) memcpy(out, &value, size); /* little-endian, as all of NVML's hosts */
    return call_end(&call, rc);
}

static nvmlReturn_t get_pair(const struct function *fn, nvmlDevice_t device, const struct key *first,
                             const struct key *second, unsigned *a, unsigned *b) {
    struct call call;
    uint64_t x = 0, y = 0;
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = a && b ? number(&call, first, &x) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) rc = number(&call, second, &y);
    if (rc == NVML_SUCCESS) *a = (unsigned)x, *b = (unsigned)y;
    return call_end(&call, rc);
}

static nvmlReturn_t get_text(const struct function *fn, nvmlDevice_t device, const char *key, char *out,
                             unsigned size) {
    struct call call;
    const char *from;
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? text(&call, KEY(key), &from) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) rc = copy_text(from, out, size);
    return call_end(&call, rc);
}

/* A struct whose members are facts. The first decides whether the reading exists; of the
 * others an absent one is 0, as the driver leaves what it does not know. */
struct member {
    size_t offset, size;
    const char *key;
};

static nvmlReturn_t get_struct(const struct function *fn, nvmlDevice_t device, void *out, uint32_t version,
                               const struct member *members, size_t count) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, fn, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (version) {
        uint32_t asked;
        memcpy(&asked, out, sizeof asked);
        if (asked != version || version_refused(&call, asked))
            return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    }
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 0;
        rc = number(&call, KEYS(KEY(members[i].key)), &value);
        if (rc != NVML_SUCCESS && (i == 0 || rc != NVML_NOT_SUPPORTED)) return call_end(&call, rc);
        memcpy((char *)out + members[i].offset, &value, members[i].size);
    }
    return call_end(&call, NVML_SUCCESS);
}

#define NUMBER(function, type, ...)                                                              \
    FUNCTION(function)(nvmlDevice_t device, type *out) {                                         \
        return get_number(&fn_##function, device, KEYS(__VA_ARGS__), out, sizeof *out);          \
    }
/* With an argument that picks one of several: clock.<domain>, fan_speed.<fan>, … */
#define NUMBER_OF(function, type, ...)                                                           \
    FUNCTION(function)(nvmlDevice_t device, unsigned which, type *out) {                         \
        return get_number(&fn_##function, device, KEYS(__VA_ARGS__), out, sizeof *out);          \
    }
#define PAIR(function, first, second)                                                            \
    FUNCTION(function)(nvmlDevice_t device, unsigned *a, unsigned *b) {                          \
        return get_pair(&fn_##function, device, KEYS(first), KEYS(second), a, b);                \
    }
#define TEXT(function, key)                                                                      \
    FUNCTION(function)(nvmlDevice_t device, char *out, unsigned size) {                          \
        return get_text(&fn_##function, device, key, out, size);                                 \
    }
/* version 0: the struct has no version member. */
#define STRUCT(function, version, ...)                                                           \
    FUNCTION(function)(nvmlDevice_t device, void *out) {                                         \
        static const struct member members[] = {__VA_ARGS__};                                    \
        return get_struct(&fn_##function, device, out, version, members,                         \
                          sizeof members / sizeof *members);                                     \
    }

/* ---------------------------------------------------------------- identity */

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetUUID, "uuid")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetBoardPartNumber, "board_part_number")
TEXT(nvmlDeviceGetVbiosVersion, "vbios_version")
TEXT(nvmlDeviceGetInforomImageVersion, "inforom_image_version")
NUMBER(nvmlDeviceGetMinorNumber, unsigned, KEY("minor_number"))
NUMBER(nvmlDeviceGetModuleId, unsigned, KEY("module_id"))
NUMBER(nvmlDeviceGetArchitecture, unsigned, KEY("architecture"))
NUMBER(nvmlDeviceGetBrand, unsigned, KEY("brand"))
NUMBER(nvmlDeviceGetBoardId, unsigned, KEY("board_id"))
NUMBER(nvmlDeviceGetNumGpuCores, unsigned, KEY("num_gpu_cores"))
NUMBER(nvmlDeviceGetMemoryBusWidth, unsigned, KEY("memory_bus_width"))
NUMBER(nvmlDeviceGetNumaNodeId, unsigned, KEY("numa_node_id"))
NUMBER(nvmlDeviceGetPersistenceMode, unsigned, KEY("persistence_mode"))
NUMBER(nvmlDeviceGetComputeMode, unsigned, KEY("compute_mode"))
NUMBER(nvmlDeviceGetDisplayMode, unsigned, KEY("display_mode"))
NUMBER(nvmlDeviceGetDisplayActive, unsigned, KEY("display_active"))
NUMBER(nvmlDeviceGetVirtualizationMode, unsigned, KEY("virtualization_mode"))
NUMBER(nvmlDeviceGetAccountingMode, unsigned, KEY("accounting_mode"))
PAIR(nvmlDeviceGetCudaComputeCapability, KEY("compute_capability.major"), KEY("compute_capability.minor"))
NUMBER(nvmlDeviceGetDefaultEccMode, unsigned, KEY("ecc_mode_default"))
PAIR(nvmlDeviceGetEccMode, FIELD(1), FIELD(2))
PAIR(nvmlDeviceGetMigMode, KEY("mig_mode.current"), KEY("mig_mode.pending"))
PAIR(nvmlDeviceGetGspFirmwareMode, KEY("gsp_mode.enabled"), KEY("gsp_mode.default"))
STRUCT(nvmlDeviceGetAddressingMode, 0x1000008, {4, 4, "addressing_mode"})
STRUCT(nvmlDeviceGetC2cModeInfoV, 0x1000008, {4, 4, "c2c_mode"})
STRUCT(nvmlDeviceGetPdi, 0x1000010, {8, 8, "pdi"})

FUNCTION(nvmlDeviceGetGspFirmwareVersion)(nvmlDevice_t device, char *out) {
    return get_text(&fn_nvmlDeviceGetGspFirmwareVersion, device, "gsp_firmware_version", out, 64);
}

static nvmlReturn_t write_address(const char *bus_id, nvmlPciInfo_t *out) {
    memset(out, 0, sizeof *out);
    if (sscanf(bus_id, "%x:%x:%x", &out->domain, &out->bus, &out->device) != 3) return NVML_UNKNOWN;
    snprintf(out->busId, sizeof out->busId, "%08X:%02X:%02X.0", out->domain, out->bus & 0xFF,
             out->device & 0xFF);
    snprintf(out->busIdLegacy, sizeof out->busIdLegacy, "%04X:%02X:%02X.0", out->domain & 0xFFFF,
             out->bus & 0xFF, out->device & 0xFF);
    return NVML_SUCCESS;
}

FUNCTION(nvmlDeviceGetPciInfo_v3)(nvmlDevice_t device, nvmlPciInfo_t *out) {
    struct call call;
    const char *bus_id;
    uint64_t id = 0, subsystem = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetPciInfo_v3, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? text(&call, KEY("pci_bus_id"), &bus_id) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) rc = write_address(bus_id, out);
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    if (number(&call, KEYS(KEY("pci_device_id")), &id) == NVML_SUCCESS) out->pciDeviceId = (uint32_t)id;
    if (number(&call, KEYS(KEY("pci_subsystem_id")), &subsystem) == NVML_SUCCESS)
        out->pciSubSystemId = (uint32_t)subsystem;
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceGetPlatformInfo)(nvmlDevice_t device, nvmlPlatformInfo_t *out) {
    struct call call;
    const char *chassis;
    uint64_t guid = 0, v = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetPlatformInfo, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    /* Version 1 has the same bytes by other names. */
    if ((out->version != 0x200002c && out->version != 0x100002c) || version_refused(&call, out->version))
        return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    rc = number(&call, KEYS(KEY("platform.module_id")), &v);
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    uint32_t version = out->version;
    memset(out, 0, sizeof *out);
    out->version = version;
    out->moduleId = (uint8_t)v;
    number(&call, KEYS(KEY("platform.ib_guid")), &guid);
    for (int i = 0; i < 8; i++) out->ibGuid[i] = (uint8_t)(guid >> (8 * (7 - i)));
    if (text(&call, KEY("platform.chassis_serial"), &chassis) == NVML_SUCCESS)
        memcpy(out->chassisSerialNumber, chassis, strnlen(chassis, sizeof out->chassisSerialNumber));
    static const struct {
        const char *key;
        size_t offset;
    } BYTES[] = {
        {"platform.slot_number", offsetof(nvmlPlatformInfo_t, slotNumber)},
        {"platform.tray_index", offsetof(nvmlPlatformInfo_t, trayIndex)},
        {"platform.host_id", offsetof(nvmlPlatformInfo_t, hostId)},
        {"platform.peer_type", offsetof(nvmlPlatformInfo_t, peerType)},
    };
    for (size_t i = 0; i < sizeof BYTES / sizeof *BYTES; i++)
        if (number(&call, KEYS(KEY(BYTES[i].key)), &v) == NVML_SUCCESS)
            ((uint8_t *)out)[BYTES[i].offset] = (uint8_t)v;
    return call_end(&call, NVML_SUCCESS);
}

/* ---------------------------------------------------------------- power, energy, temperature */

/* On GA100, which has no average, power usage is the instantaneous value. */
NUMBER(nvmlDeviceGetPowerUsage, unsigned, KEY("power_usage"), FIELD(185), FIELD(186))
NUMBER(nvmlDeviceGetTotalEnergyConsumption, uint64_t, KEY("energy"), FIELD(83))
NUMBER(nvmlDeviceGetEnforcedPowerLimit, unsigned, KEY("power_limit.enforced"), FIELD(190))
NUMBER(nvmlDeviceGetPowerManagementLimit, unsigned, KEY("power_limit.requested"), FIELD(192))
NUMBER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, KEY("power_limit.default"), FIELD(189))
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, FIELD(187), FIELD(188))
NUMBER(nvmlDeviceGetPowerSource, unsigned, KEY("power_source"))
NUMBER(nvmlDeviceGetPowerManagementMode, unsigned, KEY("power_management_mode"))

NUMBER_OF(nvmlDeviceGetTemperature, unsigned, AT("temperature", which))
NUMBER_OF(nvmlDeviceGetTemperatureThreshold, unsigned, AT("temperature_threshold", which))
STRUCT(nvmlDeviceGetMarginTemperature, 0x1000008, {4, 4, "margin_temperature"})

FUNCTION(nvmlDeviceGetTemperatureV)(nvmlDevice_t device, void *out) {
    struct {
        uint32_t version, sensor;
        int32_t temperature;
    } *reading = out;
    struct call call;
    uint64_t value = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetTemperatureV, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!reading) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (reading->version != 0x100000C || version_refused(&call, reading->version))
        return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    rc = number(&call, KEYS(AT("temperature", reading->sensor)), &value);
    if (rc == NVML_SUCCESS) reading->temperature = (int32_t)value;
    return call_end(&call, rc);
}

NUMBER(nvmlDeviceGetNumFans, unsigned, KEY("num_fans"))
NUMBER(nvmlDeviceGetFanSpeed, unsigned, KEY("fan_speed"))
NUMBER_OF(nvmlDeviceGetFanSpeed_v2, unsigned, AT("fan_speed", which))
STRUCT(nvmlDeviceGetFanSpeedRPM, 0x100000c, {8, 4, "fan_rpm"})

/* ---------------------------------------------------------------- activity and clocks */

PAIR(nvmlDeviceGetEncoderUtilization, KEY("encoder_utilization"), KEY("utilization_period_us"))
PAIR(nvmlDeviceGetDecoderUtilization, KEY("decoder_utilization"), KEY("utilization_period_us"))
PAIR(nvmlDeviceGetJpgUtilization, KEY("jpg_utilization"), KEY("utilization_period_us"))
PAIR(nvmlDeviceGetOfaUtilization, KEY("ofa_utilization"), KEY("utilization_period_us"))
STRUCT(nvmlDeviceGetUtilizationRates, 0, {0, 4, "utilization.gpu"}, {4, 4, "utilization.memory"})

NUMBER_OF(nvmlDeviceGetClockInfo, unsigned, AT("clock", which))
NUMBER_OF(nvmlDeviceGetMaxClockInfo, unsigned, AT("max_clock", which))
NUMBER_OF(nvmlDeviceGetMaxCustomerBoostClock, unsigned, AT("max_boost_clock", which))
NUMBER_OF(nvmlDeviceGetApplicationsClock, unsigned, AT("application_clock", which))
NUMBER(nvmlDeviceGetPerformanceState, unsigned, KEY("performance_state"))
NUMBER(nvmlDeviceGetPowerState, unsigned, KEY("performance_state"))
NUMBER(nvmlDeviceGetCurrentClocksEventReasons, uint64_t, KEY("clocks_event_reasons"))
NUMBER(nvmlDeviceGetCurrentClocksThrottleReasons, uint64_t, KEY("clocks_event_reasons"))
NUMBER(nvmlDeviceGetSupportedClocksEventReasons, uint64_t, KEY("supported_clocks_event_reasons"))
NUMBER(nvmlDeviceGetSupportedClocksThrottleReasons, uint64_t, KEY("supported_clocks_event_reasons"))

/* ---------------------------------------------------------------- memory and PCIe */

STRUCT(nvmlDeviceGetMemoryInfo_v2, 0x2000028, {8, 8, "memory.total"}, {16, 8, "memory.reserved"},
       {24, 8, "memory.free"}, {32, 8, "memory.used"})
STRUCT(nvmlDeviceGetBAR1MemoryInfo, 0, {0, 8, "bar1.total"}, {8, 8, "bar1.free"}, {16, 8, "bar1.used"})

/* Version 1 knows no reserved memory: it counts as used. */
FUNCTION(nvmlDeviceGetMemoryInfo)(nvmlDevice_t device, uint64_t out[3]) {
    struct call call;
    uint64_t total = 0, available = 0, used = 0, reserved = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetMemoryInfo, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? number(&call, KEYS(KEY("memory.total")), &total) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) rc = number(&call, KEYS(KEY("memory.free")), &available);
    if (rc == NVML_SUCCESS) rc = number(&call, KEYS(KEY("memory.used")), &used);
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    number(&call, KEYS(KEY("memory.reserved")), &reserved);
    out[0] = total, out[1] = available, out[2] = used + reserved;
    return call_end(&call, NVML_SUCCESS);
}

NUMBER(nvmlDeviceGetCurrPcieLinkGeneration, unsigned, KEY("pcie.link_gen"))
NUMBER(nvmlDeviceGetMaxPcieLinkGeneration, unsigned, KEY("pcie.link_gen_max"))
NUMBER(nvmlDeviceGetGpuMaxPcieLinkGeneration, unsigned, KEY("pcie.link_gen_gpu_max"))
NUMBER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, KEY("pcie.link_width"))
NUMBER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, KEY("pcie.link_width_max"))
NUMBER(nvmlDeviceGetPcieSpeed, unsigned, KEY("pcie.speed"))
NUMBER(nvmlDeviceGetPcieReplayCounter, unsigned, KEY("pcie.replays"), FIELD(94))

/* The driver counts bytes for 20 ms and only then answers: why nobody should ask often. */
FUNCTION(nvmlDeviceGetPcieThroughput)(nvmlDevice_t device, unsigned which, unsigned *out) {
    unsigned value = 0;
    nvmlReturn_t rc = get_number(&fn_nvmlDeviceGetPcieThroughput, device,
                                 KEYS(AT("pcie.throughput", which)), &value, sizeof value);
    if (rc != NVML_SUCCESS || !out) return rc != NVML_SUCCESS ? rc : NVML_INVALID_ARGUMENT;
    sleep_ms(20);
    *out = value;
    return NVML_SUCCESS;
}

/* ---------------------------------------------------------------- NVLink and fabric */

NUMBER_OF(nvmlDeviceGetNvLinkState, unsigned, AT("nvlink.state", which), AT("field", 165, which))
NUMBER_OF(nvmlDeviceGetNvLinkVersion, unsigned, AT("nvlink.version", which), AT("field", 166, which))

NUMBER_OF(nvmlDeviceGetNvLinkRemoteDeviceType, unsigned, AT("nvlink.remote_type", which))

FUNCTION(nvmlDeviceGetNvLinkRemotePciInfo_v2)(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *out) {
    struct call call;
    const char *bus_id;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetNvLinkRemotePciInfo_v2, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? text(&call, AT("nvlink.remote_pci", link), &bus_id) : NVML_INVALID_ARGUMENT;
    return call_end(&call, rc == NVML_SUCCESS ? write_address(bus_id, out) : rc);
}

FUNCTION(nvmlDeviceGetNvLinkErrorCounter)(nvmlDevice_t device, unsigned link, unsigned counter,
                                          uint64_t *out) {
    return get_number(&fn_nvmlDeviceGetNvLinkErrorCounter, device,
                      KEYS(AT("nvlink.errors", link, counter)), out, sizeof *out);
}

static void parse_uuid(const char *from, uint8_t to[16]) {
    for (int i = 0; i < 16; i++) {
        unsigned byte = 0;
        if (*from == '-') from++;
        if (sscanf(from, "%2x", &byte) == 1) from += 2;
        to[i] = (uint8_t)byte;
    }
}

FUNCTION(nvmlDeviceGetGpuFabricInfoV)(nvmlDevice_t device, nvmlGpuFabricInfoV_t *out) {
    struct call call;
    uint64_t v = 0;
    const char *uuid;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetGpuFabricInfoV, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!out) return call_end(&call, NVML_INVALID_ARGUMENT);
    uint32_t version = out->version;
    if ((version != 0x2000024 && version != 0x3000028) || version_refused(&call, version))
        return call_end(&call, NVML_ARGUMENT_VERSION_MISMATCH);
    rc = number(&call, KEYS(KEY("fabric.state")), &v);
    if (rc != NVML_SUCCESS) return call_end(&call, rc);
    memset(out->clusterUuid, 0, sizeof out->clusterUuid);
    out->state = (uint32_t)v;
    out->status = number(&call, KEYS(KEY("fabric.status")), &v) ? 0 : (nvmlReturn_t)v;
    out->cliqueId = number(&call, KEYS(KEY("fabric.clique")), &v) ? 0 : (uint32_t)v;
    out->healthMask = number(&call, KEYS(KEY("fabric.health_mask")), &v) ? 0 : (uint32_t)v;
    if (text(&call, KEY("fabric.uuid"), &uuid) == NVML_SUCCESS) parse_uuid(uuid, out->clusterUuid);
    if (version == 0x3000028)
        out->healthSummary = number(&call, KEYS(KEY("fabric.health_summary")), &v) ? 0 : (uint8_t)v;
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlDeviceGetTopologyCommonAncestor)(nvmlDevice_t a, nvmlDevice_t b, unsigned *out) {
    (void)b;
    return get_number(&fn_nvmlDeviceGetTopologyCommonAncestor, a, KEYS(KEY("topology")), out, sizeof *out);
}

/* ---------------------------------------------------------------- ECC, remapping, repair */

FUNCTION(nvmlDeviceGetMemoryErrorCounter)(nvmlDevice_t device, unsigned error, unsigned counter,
                                          unsigned location, uint64_t *out) {
    return get_number(&fn_nvmlDeviceGetMemoryErrorCounter, device,
                      KEYS(AT("ecc", error, counter, location)), out, sizeof *out);
}

/* Fields 3 to 6: corrected and uncorrected, volatile; the same, aggregate. */
FUNCTION(nvmlDeviceGetTotalEccErrors)(nvmlDevice_t device, unsigned error, unsigned counter, uint64_t *out) {
    return get_number(&fn_nvmlDeviceGetTotalEccErrors, device,
                      KEYS(AT("ecc_total", error, counter), FIELD(3 + error + 2 * counter)), out,
                      sizeof *out);
}

STRUCT(nvmlDeviceGetSramEccErrorStatus, 0x1000068, {8, 8, "sram.aggregate_parity"},
       {16, 8, "sram.aggregate_secded"}, {24, 8, "sram.aggregate_corrected"}, {32, 8, "sram.volatile_parity"},
       {40, 8, "sram.volatile_secded"}, {48, 8, "sram.volatile_corrected"}, {56, 8, "sram.bucket_l2"},
       {64, 8, "sram.bucket_sm"}, {72, 8, "sram.bucket_pcie"}, {80, 8, "sram.bucket_mcu"},
       {88, 8, "sram.bucket_other"}, {96, 4, "sram.threshold_exceeded"})
STRUCT(nvmlDeviceGetRowRemapperHistogram, 0, {0, 4, "row_remapper.max"}, {4, 4, "row_remapper.high"},
       {8, 4, "row_remapper.partial"}, {12, 4, "row_remapper.low"}, {16, 4, "row_remapper.none"})
/* The first 32 of 255 profiles. */
STRUCT(nvmlDeviceWorkloadPowerProfileGetCurrentProfiles, 0x1000064, {4, 4, "power_profiles.supported"},
       {36, 4, "power_profiles.requested"}, {68, 4, "power_profiles.enforced"})
STRUCT(nvmlDeviceGetRepairStatus, 0x100000c, {4, 4, "repair.channel"}, {8, 4, "repair.tpc"})
STRUCT(nvmlDeviceGetUnrepairableMemoryFlag_v1, 0x1000008, {4, 4, "unrepairable_memory"})

FUNCTION(nvmlDeviceGetRemappedRows)(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected,
                                    unsigned *pending, unsigned *failure) {
    struct call call;
    unsigned *out[] = {corrected, uncorrected, pending, failure};
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetRemappedRows, device);
    if (rc != NVML_SUCCESS) return rc;
    for (uint32_t i = 0; i < 4 && rc == NVML_SUCCESS; i++) {
        uint64_t v = 0;
        rc = out[i] ? number(&call, KEYS(FIELD(142 + i)), &v) : NVML_INVALID_ARGUMENT;
        if (rc == NVML_SUCCESS) *out[i] = (unsigned)v;
    }
    return call_end(&call, rc);
}

/* Legacy: policy 0 power, 1 thermal, 2 sync boost, … are the fields from 74 on, in ns. */
FUNCTION(nvmlDeviceGetViolationStatus)(nvmlDevice_t device, unsigned policy, uint64_t out[2]) {
    struct call call;
    uint64_t v = 0;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetViolationStatus, device);
    if (rc != NVML_SUCCESS) return rc;
    rc = out ? number(&call, KEYS(FIELD(74 + policy)), &v) : NVML_INVALID_ARGUMENT;
    if (rc == NVML_SUCCESS) out[0] = now_us(), out[1] = v;
    return call_end(&call, rc);
}
