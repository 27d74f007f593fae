/*
 * The part of NVML's binary interface that the fake speaks.
 *
 * Layouts and numbers are those the Python binding (nvidia-ml-py 13.615.71,
 * pynvml.py) declares for ctypes: test_abi.py compares every size with
 * ctypes.sizeof, so a binding that changes a struct is noticed.
 */
#ifndef FAKENVML_NVML_ABI_H
#define FAKENVML_NVML_ABI_H

#include <assert.h>
#include <stdint.h>

typedef int nvmlReturn_t;

enum {
    NVML_SUCCESS = 0,
    NVML_UNINITIALIZED = 1,
    NVML_INVALID_ARGUMENT = 2,
    NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4,
    NVML_NOT_FOUND = 6,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_TIMEOUT = 10,
    NVML_GPU_IS_LOST = 15,
    NVML_RESET_REQUIRED = 16,
    NVML_MEMORY = 20,
    NVML_ARGUMENT_VERSION_MISMATCH = 25,
    NVML_UNKNOWN = 999,
};

/* nvmlValueType_t: which member of nvmlValue_t holds the value. */
enum value_type {
    TYPE_DOUBLE = 0,
    TYPE_U32 = 1,
    TYPE_ULONG = 2,
    TYPE_U64 = 3,
    TYPE_I64 = 4,
    TYPE_I32 = 5,
    TYPE_U16 = 6,
    TYPE_UNSET = -1,
};

#define NVML_EVENT_XID 0x8ULL
#define NVML_VALUE_NOT_AVAILABLE UINT64_MAX
#define NVML_NO_INSTANCE UINT32_MAX /* gpuInstanceId where there is no MIG */

/* Opaque to callers, never dereferenced by us either: see device_handle(). */
typedef void *nvmlDevice_t;
typedef struct event_set *nvmlEventSet_t;
typedef struct gpm_sample *nvmlGpmSample_t;

typedef union {
    double dVal;
    uint32_t uiVal;
    unsigned long ulVal;
    uint64_t ullVal;
    int64_t sllVal;
    int32_t siVal;
    uint16_t usVal;
} nvmlValue_t;

typedef struct {
    uint32_t fieldId;
    uint32_t scopeId;
    int64_t timestamp;   /* us since the epoch */
    int64_t latencyUsec; /* what reading this value cost */
    int32_t valueType;
    nvmlReturn_t nvmlReturn;
    nvmlValue_t value;
} nvmlFieldValue_t;

typedef struct {
    uint64_t timeStamp;
    nvmlValue_t sampleValue;
} nvmlSample_t;

typedef struct {
    char busIdLegacy[16];
    uint32_t domain, bus, device;
    uint32_t pciDeviceId, pciSubSystemId;
    char busId[32];
} nvmlPciInfo_t;

typedef struct {
    uint32_t pid;
    uint64_t usedGpuMemory;
    uint32_t gpuInstanceId, computeInstanceId;
} nvmlProcessInfo_t; /* _v2 and _v3 are the same */

typedef struct {
    uint32_t pid;
    uint64_t timeStamp;
    uint32_t smUtil, memUtil, encUtil, decUtil;
} nvmlProcessUtilizationSample_t;

typedef struct {
    nvmlDevice_t device;
    uint64_t eventType, eventData;
    uint32_t gpuInstanceId, computeInstanceId;
} nvmlEventData_t;

typedef struct {
    uint32_t metricId;
    nvmlReturn_t nvmlReturn;
    double value;
    const char *shortName, *longName, *unit;
} nvmlGpmMetric_t;

#define NVML_GPM_METRIC_MAX 477 /* 333 before the 13.6 binding, 98 in the first: callers fill fewer */
typedef struct {
    uint32_t version;
    uint32_t numMetrics;
    nvmlGpmSample_t sample1, sample2;
    nvmlGpmMetric_t metrics[NVML_GPM_METRIC_MAX];
} nvmlGpmMetricsGet_t;

typedef struct {
    uint32_t version;
    uint32_t isSupportedDevice;
} nvmlGpmSupport_t;

typedef struct {
    uint32_t version;
    uint8_t clusterUuid[16];
    nvmlReturn_t status;
    uint32_t cliqueId;
    uint32_t state;
    uint32_t healthMask;
    uint8_t healthSummary; /* from v3 on */
} nvmlGpuFabricInfoV_t;

typedef struct {
    uint32_t version;
    uint8_t ibGuid[16];
    uint8_t chassisSerialNumber[16];
    uint8_t slotNumber, trayIndex, hostId, peerType, moduleId;
} nvmlPlatformInfo_t;

static_assert(sizeof(nvmlFieldValue_t) == 40, "c_nvmlFieldValue_t");
static_assert(sizeof(nvmlPciInfo_t) == 68, "nvmlPciInfo_t");
static_assert(sizeof(nvmlProcessInfo_t) == 24, "c_nvmlProcessInfo_v3_t");
static_assert(sizeof(nvmlProcessUtilizationSample_t) == 32, "c_nvmlProcessUtilizationSample_t");
static_assert(sizeof(nvmlEventData_t) == 32, "c_nvmlEventData_t");
static_assert(sizeof(nvmlGpmMetricsGet_t) == 19104, "c_nvmlGpmMetricsGet_t");
static_assert(sizeof(nvmlGpuFabricInfoV_t) == 40, "c_nvmlGpuFabricInfo_v3_t");
static_assert(sizeof(nvmlPlatformInfo_t) == 44, "c_nvmlPlatformInfo_v2_t");

#endif
