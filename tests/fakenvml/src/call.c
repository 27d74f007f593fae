#define _GNU_SOURCE
#include "call.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HANG_POLL_MS 10

void sleep_ms(uint64_t ms) {
    struct timespec t = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (nanosleep(&t, &t) != 0) continue;
}

/* ---------------------------------------------------------------- counting calls */

/* FAKENVML_CALLS names a file of these records, mapped and shared: the harness reads it
 * while the process runs, and the processes of one test add up in it. */
struct counter {
    char name[56];
    _Atomic uint64_t count;
};

extern const struct function __start_nvml_functions[], __stop_nvml_functions[];
#define FUNCTION_COUNT ((size_t)(__stop_nvml_functions - __start_nvml_functions))
#define EXTRA_COUNTERS (1 + MAX_GPUS) /* "fields", then field batches per GPU */

static struct counter *counters;

__attribute__((constructor)) static void map_counters(void) {
    const char *path = getenv("FAKENVML_CALLS");
    if (!path || !*path) return;
    size_t count = FUNCTION_COUNT + EXTRA_COUNTERS, size = count * sizeof *counters;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0 || ftruncate(fd, (off_t)size) != 0) return;
    void *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (map == MAP_FAILED) return;
    counters = map;
    for (size_t i = 0; i < count; i++) {
        char *name = counters[i].name;
        if (i < FUNCTION_COUNT) memcpy(name, __start_nvml_functions[i].name, sizeof counters[i].name - 1);
        else if (i == FUNCTION_COUNT) strcpy(name, "fields");
        else snprintf(name, sizeof counters[i].name, "nvmlDeviceGetFieldValues[%zu]", i - FUNCTION_COUNT - 1);
    }
}

static void count(size_t index, uint64_t by) {
    if (counters) atomic_fetch_add_explicit(&counters[index].count, by, memory_order_relaxed);
}

void count_fields(unit_t unit, int values) {
    count(FUNCTION_COUNT, (uint64_t)values);
    count(FUNCTION_COUNT + 1 + UNIT_GPU(unit), 1);
}

static void dump_counters(void) {
    char path[4096];
    if (!counters) return;
    snprintf(path, sizeof path, "%s.txt", getenv("FAKENVML_CALLS"));
    FILE *file = fopen(path, "we");
    if (!file) return;
    for (size_t i = 0; i < FUNCTION_COUNT + EXTRA_COUNTERS; i++) {
        uint64_t n = atomic_load(&counters[i].count);
        if (n) fprintf(file, "%s %llu\n", counters[i].name, (unsigned long long)n);
    }
    fclose(file);
}

/* ---------------------------------------------------------------- handles, initialisation */

static pthread_mutex_t init_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic unsigned init_count;
static _Atomic uint64_t init_generation;

/*
 * A handle is a number that says which driver generation and unit it is for. Nothing to
 * free, no pointer to follow: a handle from before a driver reload, or garbage, is told
 * by looking at it.
 */
#define HANDLE_TAG 0x4E56ULL

nvmlDevice_t device_handle(const struct call *call, unit_t unit) {
    uint64_t generation = call->snapshot->generation & 0xFFFF;
    return (nvmlDevice_t)(uintptr_t)(HANDLE_TAG << 48 | generation << 32 | unit);
}

static bool unit_of_handle(const struct snapshot *s, nvmlDevice_t device, unit_t *unit) {
    uint64_t bits = (uintptr_t)device;
    *unit = (unit_t)bits;
    return bits >> 48 == HANDLE_TAG && (bits >> 32 & 0xFFFF) == (s->generation & 0xFFFF) &&
           UNIT_GPU(*unit) < s->gpus;
}

/* ---------------------------------------------------------------- faults */

/* A fault may name a function without its version suffix; "nvmlInit" covers all of its
 * ways in. */
static bool is_function(const char *name, const char *wanted) {
    size_t n = strlen(wanted);
    if (strncmp(name, wanted, n) != 0) return false;
    if (name[n] == '\0' || (name[n] == '_' && name[n + 1] == 'v')) return true;
    return strcmp(wanted, "nvmlInit") == 0 && strcmp(name, "nvmlInitWithFlags") == 0;
}

static bool applies(const struct fault *f, const struct call *call) {
    if (f->unit != UNIT_ANY && f->unit != call->unit &&
        (call->unit == UNIT_SYSTEM || f->unit != UNIT_GPU(call->unit)))
        return false;
    return !f->function || is_function(call->function->name, f->function);
}

/* With a token, only the first process to get here dies: a test of "it is started again"
 * needs no race against the restart. */
static void crash(uint64_t token) {
    if (token) {
        char path[4096];
        snprintf(path, sizeof path, "%s.crashed-%llu", control_path(), (unsigned long long)token);
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd < 0) return;
        close(fd);
    }
    raise(SIGSEGV);
}

/* Returns with the fault's answer; takes a fresh snapshot after each look while hanging. */
static nvmlReturn_t meet_faults(struct call *call) {
    for (;;) {
        nvmlReturn_t error = NVML_SUCCESS;
        bool hang = false;
        uint64_t delay = 0;
        for (size_t i = 0; i < call->snapshot->fault_count; i++) {
            const struct fault *f = &call->snapshot->faults[i];
            if (!applies(f, call)) continue;
            if (f->kind == FAULT_HANG) hang = true;
            else if (f->kind == FAULT_SLOW) delay += f->argument;
            else if (f->kind == FAULT_CRASH) crash(f->argument);
            else if (f->kind == FAULT_ERROR && !error) error = (nvmlReturn_t)f->argument;
        }
        if (!hang) {
            if (delay) sleep_ms(delay);
            return error;
        }
        snapshot_release(call->snapshot); /* a hanging call holds nothing */
        sleep_ms(HANG_POLL_MS);
        call->snapshot = snapshot_acquire(true);
    }
}

bool version_refused(const struct call *call, uint32_t version) {
    for (size_t i = 0; i < call->snapshot->fault_count; i++) {
        const struct fault *f = &call->snapshot->faults[i];
        if (f->kind == FAULT_VERSION && f->argument == version && applies(f, call)) return true;
    }
    return false;
}

bool value_error(const struct call *call, nvmlReturn_t *error) {
    for (size_t i = 0; i < call->snapshot->fault_count; i++) {
        const struct fault *f = &call->snapshot->faults[i];
        if (f->kind != FAULT_VALUE_ERROR || !applies(f, call)) continue;
        *error = (nvmlReturn_t)f->argument;
        return true;
    }
    return false;
}

/* ---------------------------------------------------------------- a call */

nvmlReturn_t call_end(struct call *call, nvmlReturn_t result) {
    snapshot_release(call->snapshot);
    call->snapshot = NULL;
    return result;
}

static bool alive(const struct snapshot *s) {
    return atomic_load(&init_count) > 0 && atomic_load(&init_generation) == s->generation;
}

static nvmlReturn_t start(struct call *call, const struct function *function) {
    *call = (struct call){.function = function, .unit = UNIT_SYSTEM};
    count((size_t)(function - __start_nvml_functions), 1);
    call->snapshot = snapshot_acquire(false);
    if (!call->snapshot) return NVML_UNINITIALIZED;
    return alive(call->snapshot) ? NVML_SUCCESS : call_end(call, NVML_UNINITIALIZED);
}

/* The driver may have been reloaded while the call hung. */
static nvmlReturn_t admit(struct call *call) {
    nvmlReturn_t rc = meet_faults(call);
    if (rc == NVML_SUCCESS && !alive(call->snapshot)) rc = NVML_UNINITIALIZED;
    return rc == NVML_SUCCESS ? rc : call_end(call, rc);
}

nvmlReturn_t call_begin_system(struct call *call, const struct function *function) {
    nvmlReturn_t rc = start(call, function);
    return rc == NVML_SUCCESS ? admit(call) : rc;
}

nvmlReturn_t call_begin_unit(struct call *call, const struct function *function, unit_t unit) {
    nvmlReturn_t rc = start(call, function);
    if (rc != NVML_SUCCESS) return rc;
    if (UNIT_GPU(unit) >= call->snapshot->gpus) return call_end(call, NVML_INVALID_ARGUMENT);
    call->unit = unit;
    return admit(call);
}

nvmlReturn_t call_begin(struct call *call, const struct function *function, nvmlDevice_t device) {
    nvmlReturn_t rc = start(call, function);
    if (rc != NVML_SUCCESS) return rc;
    if (!unit_of_handle(call->snapshot, device, &call->unit))
        return call_end(call, NVML_INVALID_ARGUMENT);
    return admit(call);
}

/* ---------------------------------------------------------------- answers */

nvmlReturn_t number(const struct call *call, const struct key *keys, uint64_t *integer) {
    for (const struct key *key = keys; key->name; key++) {
        const struct value *v = lookup(call->snapshot, call->unit, *key);
        double real;
        if (!v) continue;
        if (v->error) return v->error;
        if (v->shape == SHAPE_TEXT) return NVML_UNKNOWN; /* a slip in the control file, not a 0 */
        evaluate(call->snapshot, v, integer, &real);
        return NVML_SUCCESS;
    }
    return NVML_NOT_SUPPORTED;
}

nvmlReturn_t text(const struct call *call, struct key key, const char **out) {
    const struct value *v = lookup(call->snapshot, call->unit, key);
    if (!v) return NVML_NOT_SUPPORTED;
    *out = v->text;
    return v->error;
}

nvmlReturn_t copy_text(const char *from, char *to, unsigned size) {
    if (strlen(from) >= size) return NVML_INSUFFICIENT_SIZE;
    strcpy(to, from);
    return NVML_SUCCESS;
}

/* ---------------------------------------------------------------- init and shutdown */

static nvmlReturn_t init(const struct function *function) {
    struct call call = {.function = function, .unit = UNIT_SYSTEM};
    count((size_t)(function - __start_nvml_functions), 1);
    call.snapshot = snapshot_acquire(true);
    if (!call.snapshot) return NVML_DRIVER_NOT_LOADED;
    nvmlReturn_t rc = meet_faults(&call);
    if (rc == NVML_SUCCESS) {
        pthread_mutex_lock(&init_lock);
        if (atomic_load(&init_count) == 0) atomic_store(&init_generation, call.snapshot->generation);
        atomic_fetch_add(&init_count, 1); /* NVML counts its users; only the first attaches */
        pthread_mutex_unlock(&init_lock);
    }
    return call_end(&call, rc);
}

FUNCTION(nvmlInit_v2)(void) { return init(&fn_nvmlInit_v2); }
FUNCTION(nvmlInit)(void) { return init(&fn_nvmlInit); }
FUNCTION(nvmlInitWithFlags)(unsigned flags) {
    (void)flags; /* NO_GPUS, NO_ATTACH, FORCE: attaching here is lazy anyway */
    return init(&fn_nvmlInitWithFlags);
}

FUNCTION(nvmlShutdown)(void) {
    struct call call = {.function = &fn_nvmlShutdown, .unit = UNIT_SYSTEM};
    count((size_t)(&fn_nvmlShutdown - __start_nvml_functions), 1);
    dump_counters();
    call.snapshot = snapshot_acquire(false);
    if (!call.snapshot) return NVML_UNINITIALIZED;
    nvmlReturn_t rc = meet_faults(&call);
    if (rc == NVML_SUCCESS) {
        pthread_mutex_lock(&init_lock);
        if (atomic_load(&init_count) == 0) rc = NVML_UNINITIALIZED;
        else atomic_fetch_sub(&init_count, 1);
        pthread_mutex_unlock(&init_lock);
    }
    return call_end(&call, rc);
}
