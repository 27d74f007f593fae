/* Event sets: Xids and their kin, as the control file's "event" lines raise them. */
#define _GNU_SOURCE
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "call.h"

/* Where inotify is missing, the wait looks this often. */
#define POLL_MS 10

struct event_set {
    struct event_set *next;
    pthread_mutex_t lock;
    bool freed; /* kept: a thread may still wait on it */
    uint64_t generation;
    uint64_t seen; /* events up to this sequence were delivered, or came too early */
    uint64_t mask[MAX_GPUS];
};

static pthread_mutex_t sets_lock = PTHREAD_MUTEX_INITIALIZER;
static struct event_set *sets;

static bool known(const struct event_set *wanted) {
    bool found = false;
    pthread_mutex_lock(&sets_lock);
    for (struct event_set *s = sets; s; s = s->next) found |= s == wanted && !s->freed;
    pthread_mutex_unlock(&sets_lock);
    return found;
}

FUNCTION(nvmlEventSetCreate)(nvmlEventSet_t *out) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlEventSetCreate);
    if (rc != NVML_SUCCESS) return rc;
    struct event_set *set = out ? calloc(1, sizeof *set) : NULL;
    if (!set) return call_end(&call, out ? NVML_MEMORY : NVML_INVALID_ARGUMENT);
    pthread_mutex_init(&set->lock, NULL);
    set->generation = call.snapshot->generation;
    set->seen = call.snapshot->last_event;
    pthread_mutex_lock(&sets_lock);
    set->next = sets;
    sets = set;
    pthread_mutex_unlock(&sets_lock);
    *out = set;
    return call_end(&call, NVML_SUCCESS);
}

FUNCTION(nvmlEventSetFree)(nvmlEventSet_t set) {
    struct call call;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlEventSetFree);
    if (rc != NVML_SUCCESS) return rc;
    if (!known(set)) return call_end(&call, NVML_INVALID_ARGUMENT);
    pthread_mutex_lock(&sets_lock);
    set->freed = true;
    pthread_mutex_unlock(&sets_lock);
    return call_end(&call, NVML_SUCCESS);
}

static uint64_t supported_types(const struct call *call) {
    uint64_t mask = 0;
    number(call, KEYS(KEY("supported_event_types")), &mask);
    return mask;
}

FUNCTION(nvmlDeviceGetSupportedEventTypes)(nvmlDevice_t device, uint64_t *types) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetSupportedEventTypes, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!types) return call_end(&call, NVML_INVALID_ARGUMENT);
    *types = supported_types(&call);
    return call_end(&call, NVML_SUCCESS);
}

/* One unsupported type in the mask, and none is registered. */
FUNCTION(nvmlDeviceRegisterEvents)(nvmlDevice_t device, uint64_t types, nvmlEventSet_t set) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceRegisterEvents, device);
    if (rc != NVML_SUCCESS) return rc;
    if (!known(set)) return call_end(&call, NVML_INVALID_ARGUMENT);
    if (types & ~supported_types(&call)) return call_end(&call, NVML_NOT_SUPPORTED);
    pthread_mutex_lock(&set->lock);
    set->mask[UNIT_GPU(call.unit)] |= types;
    pthread_mutex_unlock(&set->lock);
    return call_end(&call, NVML_SUCCESS);
}

/* The next event this set asked for; those it did not ask for are gone for it. */
static bool take(struct event_set *set, const struct call *call, nvmlEventData_t *data) {
    const struct snapshot *s = call->snapshot;
    bool found = false;
    pthread_mutex_lock(&set->lock);
    for (size_t i = 0; i < s->event_count && !found; i++) {
        const struct event *e = &s->events[i];
        if (e->sequence <= set->seen) continue;
        set->seen = e->sequence;
        if (!(set->mask[UNIT_GPU(e->unit)] & e->type) || UNIT_GPU(e->unit) >= s->gpus) continue;
        memset(data, 0, sizeof *data);
        data->device = device_handle(call, UNIT_MAKE(UNIT_GPU(e->unit), 0));
        data->eventType = e->type;
        data->eventData = e->data;
        data->gpuInstanceId = data->computeInstanceId = NVML_NO_INSTANCE;
        found = true;
    }
    pthread_mutex_unlock(&set->lock);
    return found;
}

static int64_t monotonic_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Wakes when the control file is replaced: a waiting thread costs nothing, as with the
 * real driver, or the benchmark would measure the fake. */
static int watch_control(void) {
    char directory[PATH_MAX];
    const char *path = control_path(), *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || (size_t)(slash - path) >= sizeof directory) return -1;
    memcpy(directory, path, (size_t)(slash - path));
    directory[slash - path] = '\0';
    int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (fd >= 0 && inotify_add_watch(fd, slash == path ? "/" : directory, IN_MOVED_TO | IN_CLOSE_WRITE) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static void wait_change(int fd, int64_t ms) {
    char drain[4096];
    if (fd < 0) {
        sleep_ms((uint64_t)(ms < POLL_MS ? ms : POLL_MS));
        return;
    }
    struct pollfd p = {.fd = fd, .events = POLLIN};
    if (poll(&p, 1, ms > INT_MAX ? INT_MAX : (int)ms) > 0)
        while (read(fd, drain, sizeof drain) > 0) continue;
}

FUNCTION(nvmlEventSetWait_v2)(nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeout_ms) {
    struct call call;
    int64_t deadline = monotonic_ms() + timeout_ms;
    nvmlReturn_t rc = call_begin_system(&call, &fn_nvmlEventSetWait_v2);
    if (rc != NVML_SUCCESS) return rc;
    if (!data || !known(set)) return call_end(&call, NVML_INVALID_ARGUMENT);
    int fd = watch_control(); /* before the first look, so that no change falls between */
    for (;;) {
        snapshot_release(call.snapshot);
        call.snapshot = snapshot_acquire(true);
        if (call.snapshot->generation != set->generation) rc = NVML_UNINITIALIZED;
        else if (take(set, &call, data)) break;
        else if (monotonic_ms() >= deadline) rc = NVML_TIMEOUT;
        if (rc != NVML_SUCCESS) break;
        wait_change(fd, deadline - monotonic_ms());
    }
    if (fd >= 0) close(fd);
    return call_end(&call, rc);
}
