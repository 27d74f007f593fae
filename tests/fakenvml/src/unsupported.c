/*
 * Functions that a driver of the profiles' age (570, 580) exports but these boards do not
 * answer, or that no test needed yet: NOT_SUPPORTED, rather than a missing symbol, which
 * would say that the driver is older. They meet faults and are counted like the others.
 */
#include "call.h"

#define UNSUPPORTED(function)                                                          \
    FUNCTION(function)(nvmlDevice_t device) {                                          \
        struct call call;                                                              \
        nvmlReturn_t rc = call_begin(&call, &fn_##function, device);                   \
        return rc == NVML_SUCCESS ? call_end(&call, NVML_NOT_SUPPORTED) : rc;          \
    }

UNSUPPORTED(nvmlDeviceGetThermalSettings)
UNSUPPORTED(nvmlDeviceGetMinMaxFanSpeed)
UNSUPPORTED(nvmlDeviceGetTargetFanSpeed)
UNSUPPORTED(nvmlDeviceGetCurrentClockFreqs)
UNSUPPORTED(nvmlDeviceGetDynamicPstatesInfo)
UNSUPPORTED(nvmlDeviceGetProcessesUtilizationInfo)
UNSUPPORTED(nvmlDeviceGetRunningProcessDetailList)
UNSUPPORTED(nvmlDeviceGetAccountingStats)
UNSUPPORTED(nvmlDeviceGetSramUniqueUncorrectedEccErrorCounts)
UNSUPPORTED(nvmlDeviceGetDetailedEccErrors)
UNSUPPORTED(nvmlDeviceGetRetiredPages)
UNSUPPORTED(nvmlDeviceGetRetiredPages_v2)
UNSUPPORTED(nvmlDeviceGetRetiredPagesPendingStatus)
UNSUPPORTED(nvmlDeviceGetNvLinkCapability)
UNSUPPORTED(nvmlDeviceGetNvLinkInfo)
UNSUPPORTED(nvmlDeviceGetNvlinkBwMode)
UNSUPPORTED(nvmlDeviceGetNvlinkSupportedBwModes)
UNSUPPORTED(nvmlDeviceGetP2PStatus)
UNSUPPORTED(nvmlDeviceGetMemoryAffinity)
UNSUPPORTED(nvmlDeviceGetCpuAffinity)
UNSUPPORTED(nvmlDeviceGetDramEncryptionMode)
UNSUPPORTED(nvmlDeviceGetConfComputeMemSizeInfo)
UNSUPPORTED(nvmlDeviceGetConfComputeProtectedMemoryUsage)
UNSUPPORTED(nvmlDeviceGetLastBBXFlushTime)
UNSUPPORTED(nvmlDeviceWorkloadPowerProfileGetProfilesInfo)
