/*
 * The control file as the library sees it: an immutable snapshot of facts
 * ("GPU 3's field 185 is 330000"), faults and events. README.md describes the text.
 */
#ifndef FAKENVML_CONTROL_H
#define FAKENVML_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "nvml_abi.h"

/* Whose fact: GPU index in the low half, MIG device index + 1 in the high half. */
typedef uint32_t unit_t;
#define UNIT_ANY UINT32_MAX
#define UNIT_SYSTEM (UINT32_MAX - 1)
#define UNIT_GPU(unit) ((unit) & 0xFFFFu)
#define UNIT_MIG(unit) ((unit) >> 16)
#define UNIT_MAKE(gpu, mig_plus_one) ((unit_t)(gpu) | (unit_t)(mig_plus_one) << 16)
#define MAX_GPUS 256

/* "field.138.4294967295" is the name "field" with the numbers 138, 4294967295, 0. */
struct key {
    const char *name;
    uint32_t number[3];
};
#define KEY(text) ((struct key){.name = (text)})
#define AT(text, ...) ((struct key){.name = (text), .number = {__VA_ARGS__}})
#define FIELD(id) AT("field", (id))
#define KEYS(...) ((struct key[]){__VA_ARGS__, KEY(NULL)}) /* the first that is there decides */

enum shape { SHAPE_TEXT, SHAPE_NUMBER, SHAPE_RATE, SHAPE_CYCLE };

struct value {
    nvmlReturn_t error; /* "!15": every read of it answers 15 */
    enum shape shape;
    enum value_type type; /* "u64:1": TYPE_UNSET where the text names none */
    uint64_t integer;     /* two's complement for negative numbers */
    double real;
    double per_second; /* SHAPE_RATE */
    const char *text;  /* what followed the key; for SHAPE_CYCLE the list */
};

enum fault_kind { FAULT_ERROR, FAULT_VALUE_ERROR, FAULT_HANG, FAULT_SLOW, FAULT_CRASH, FAULT_VERSION };

struct fault {
    unit_t unit;
    const char *function; /* NULL: every function */
    enum fault_kind kind;
    uint64_t argument;
};

struct event {
    uint64_t sequence;
    unit_t unit;
    uint64_t type, data;
};

struct snapshot {
    int references; /* under control.c's lock */
    char *text;
    struct entry *table;
    size_t table_mask;
    struct fault *faults;
    size_t fault_count;
    struct event *events;
    size_t event_count;
    uint64_t last_event;
    uint32_t gpus;
    uint64_t generation;
    double epoch; /* unix seconds at which rates have their base value */
};

/* The newest snapshot, or NULL while there is no control file. `look` asks the file
 * system now; otherwise a change is noticed through the doorbell at once, or without
 * one within CHECK_INTERVAL_NS. Give it back with snapshot_release. */
struct snapshot *snapshot_acquire(bool look);
void snapshot_release(struct snapshot *snapshot);
const char *control_path(void);

/* The value for this unit, else for any GPU (never for a MIG device: it must not
 * inherit the readings a real one lacks), else NULL. */
const struct value *lookup(const struct snapshot *snapshot, unit_t unit, struct key key);

/* The number a value stands for now. */
void evaluate(const struct snapshot *snapshot, const struct value *value, uint64_t *integer,
              double *real);

uint64_t now_us(void); /* CLOCK_REALTIME, as NVML's "CPU time" stamps */

#endif
