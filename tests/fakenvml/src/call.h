/*
 * What every exported function goes through: it is counted, finds the snapshot and the
 * GPU, meets the faults that are on, and only then looks its answer up.
 */
#ifndef FAKENVML_CALL_H
#define FAKENVML_CALL_H

#include "control.h"

#define EXPORT __attribute__((visibility("default")))

/*
 * One record per exported function, gathered by the linker in a section of its own: the
 * list of functions is then the functions, nothing to keep in step. 64 bytes each, so
 * that the section is an array whatever alignment the compiler likes.
 */
struct function {
    char name[64];
} __attribute__((aligned(64)));

#define FUNCTION(name_)                                                                \
    static const struct function fn_##name_                                            \
        __attribute__((section("nvml_functions"), used)) = {#name_};                   \
    EXPORT nvmlReturn_t name_

struct call {
    const struct function *function;
    struct snapshot *snapshot;
    unit_t unit;
};

/* Each: NVML_SUCCESS, and call_end is due; or the error to return, and it is not. */
nvmlReturn_t call_begin(struct call *call, const struct function *function, nvmlDevice_t device);
nvmlReturn_t call_begin_unit(struct call *call, const struct function *function, unit_t unit);
nvmlReturn_t call_begin_system(struct call *call, const struct function *function);
nvmlReturn_t call_end(struct call *call, nvmlReturn_t result);

/* The first key of the list (ended by a NULL name) that is there decides. */
nvmlReturn_t number(const struct call *call, const struct key *keys, uint64_t *integer);
nvmlReturn_t text(const struct call *call, struct key key, const char **out);
nvmlReturn_t copy_text(const char *from, char *to, unsigned size);

/* The fault "version V" refuses a struct version that an older driver does not know. */
bool version_refused(const struct call *call, uint32_t version);
bool value_error(const struct call *call, nvmlReturn_t *error);

nvmlDevice_t device_handle(const struct call *call, unit_t unit);
void count_fields(unit_t unit, int values);
void sleep_ms(uint64_t ms);

#endif
