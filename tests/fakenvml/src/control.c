#define _GNU_SOURCE
#include "control.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

struct entry {
    struct key key; /* name NULL: free slot */
    unit_t unit;
    struct value value;
};

/* Without a doorbell a change may go unseen this long: a stat per call would cost more
 * than the call. */
#define CHECK_INTERVAL_NS 2000000

uint64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* ---------------------------------------------------------------- the table of facts */

static uint64_t hash_key(unit_t unit, const struct key *key) {
    uint64_t h = 14695981039346656037ULL ^ unit; /* FNV-1a over the name, then a mix */
    for (const char *p = key->name; *p; p++) h = (h ^ (unsigned char)*p) * 1099511628211ULL;
    for (int i = 0; i < 3; i++) h = (h ^ key->number[i]) * 0x9E3779B97F4A7C15ULL;
    return h ^ h >> 29;
}

static bool same_key(const struct key *a, const struct key *b) {
    return a->number[0] == b->number[0] && a->number[1] == b->number[1] &&
           a->number[2] == b->number[2] && strcmp(a->name, b->name) == 0;
}

static struct entry *slot(const struct snapshot *s, unit_t unit, const struct key *key) {
    for (size_t i = hash_key(unit, key) & s->table_mask;; i = (i + 1) & s->table_mask) {
        struct entry *e = &s->table[i];
        if (!e->key.name || (e->unit == unit && same_key(&e->key, key))) return e;
    }
}

const struct value *lookup(const struct snapshot *s, unit_t unit, struct key key) {
    struct entry *e = slot(s, unit, &key);
    if (!e->key.name && unit != UNIT_SYSTEM && UNIT_MIG(unit) == 0) e = slot(s, UNIT_ANY, &key);
    return e->key.name ? &e->value : NULL;
}

/* ---------------------------------------------------------------- values */

static const struct {
    const char *prefix;
    enum value_type type;
} TYPES[] = {
    {"double:", TYPE_DOUBLE}, {"u32:", TYPE_U32}, {"ulong:", TYPE_ULONG}, {"u64:", TYPE_U64},
    {"i64:", TYPE_I64},       {"i32:", TYPE_I32}, {"u16:", TYPE_U16},
};

/* A whole word that is a number: 12, -3, 0x1ff, 9.5. */
static bool parse_number(const char *text, uint64_t *integer, double *real) {
    char *end;
    int base = strncmp(text, "0x", 2) == 0 ? 16 : 10;
    if (*text == '-') {
        int64_t negative = strtoll(text, &end, base);
        *integer = (uint64_t)negative;
        *real = (double)negative;
    } else {
        *integer = strtoull(text, &end, base);
        *real = (double)*integer;
    }
    if (end == text) return false;
    if (*end == '.' || *end == 'e') {
        *real = strtod(text, &end);
        *integer = *real < 0 ? (uint64_t)(int64_t)*real : (uint64_t)*real;
    }
    return *end == '\0' || *end == '@' || *end == ',';
}

static struct value parse_value(char *text) {
    struct value v = {.type = TYPE_UNSET, .text = text, .shape = SHAPE_TEXT};
    if (*text == '!') {
        v.error = atoi(text + 1);
        return v;
    }
    for (size_t i = 0; i < sizeof TYPES / sizeof *TYPES; i++) {
        size_t n = strlen(TYPES[i].prefix);
        if (strncmp(text, TYPES[i].prefix, n) != 0) continue;
        v.type = TYPES[i].type;
        text += n;
        break;
    }
    if (strncmp(text, "rate:", 5) == 0) {
        char *base = strchr(text, '@');
        v.per_second = strtod(text + 5, NULL);
        if (!base || parse_number(base + 1, &v.integer, &v.real)) v.shape = SHAPE_RATE;
    } else if (strncmp(text, "cycle:", 6) == 0) {
        char *list;
        v.integer = strtoull(text + 6, &list, 10); /* ms each value holds */
        if (*list == ':' && v.integer > 0) {
            v.text = list + 1;
            v.shape = SHAPE_CYCLE;
        }
    } else if (parse_number(text, &v.integer, &v.real)) {
        v.shape = SHAPE_NUMBER;
    }
    return v;
}

static void evaluate_cycle(const struct value *v, uint64_t *integer, double *real) {
    size_t count = 1;
    for (const char *p = v->text; *p; p++) count += *p == ',';
    const char *p = v->text;
    for (size_t step = now_us() / 1000 / v->integer % count; step > 0; step--)
        p = strchr(p, ',') + 1;
    if (!parse_number(p, integer, real)) *integer = 0, *real = 0;
}

void evaluate(const struct snapshot *s, const struct value *v, uint64_t *integer, double *real) {
    *integer = v->integer;
    *real = v->real;
    if (v->shape == SHAPE_RATE) {
        double grown = ((double)now_us() / 1e6 - s->epoch) * v->per_second;
        if (grown < 0) grown = 0;
        *integer += (uint64_t)grown;
        *real += grown;
    } else if (v->shape == SHAPE_CYCLE) {
        evaluate_cycle(v, integer, real);
    }
}

/* ---------------------------------------------------------------- the text */

static char *next_word(char **rest) {
    char *word = *rest + strspn(*rest, " \t");
    *rest = word + strcspn(word, " \t");
    if (**rest) *(*rest)++ = '\0';
    *rest += strspn(*rest, " \t");
    return word;
}

/* "3", "3/0" (its first MIG device) or "*". */
static bool parse_unit(const char *word, unit_t *unit) {
    if (strcmp(word, "*") == 0) {
        *unit = UNIT_ANY;
        return true;
    }
    char *end;
    unsigned long gpu = strtoul(word, &end, 10), mig = 0;
    if (end == word) return false;
    if (*end == '/') mig = strtoul(end + 1, &end, 10) + 1;
    *unit = UNIT_MAKE(gpu, mig);
    return *end == '\0' && gpu < MAX_GPUS;
}

/* Cuts up to three trailing ".123" off the word, in place. */
static struct key parse_key(char *word) {
    struct key key = {.name = word};
    uint32_t found[3];
    int count = 0;
    for (char *dot; count < 3 && (dot = strrchr(word, '.')) && dot[1];) {
        if (dot[1 + strspn(dot + 1, "0123456789")] != '\0') break;
        found[count++] = (uint32_t)strtoull(dot + 1, NULL, 10);
        *dot = '\0';
    }
    for (int i = 0; i < count; i++) key.number[i] = found[count - 1 - i];
    return key;
}

static void add_fault(struct snapshot *s, char *rest) {
    static const char *const KINDS[] = {"error", "value_error", "hang", "slow", "crash", "version"};
    struct fault f = {0};
    char *unit = next_word(&rest), *function = next_word(&rest), *kind = next_word(&rest);
    if (!parse_unit(unit, &f.unit)) return;
    f.function = strcmp(function, "*") == 0 ? NULL : function;
    f.argument = strtoull(rest, NULL, 0);
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++) {
        if (strcmp(kind, KINDS[i]) != 0) continue;
        f.kind = (enum fault_kind)i;
        s->faults[s->fault_count++] = f;
        return;
    }
}

static void add_event(struct snapshot *s, char *rest) {
    struct event e = {.sequence = strtoull(next_word(&rest), NULL, 10)};
    if (!parse_unit(next_word(&rest), &e.unit)) return;
    char *kind = next_word(&rest);
    e.type = strcmp(kind, "xid") == 0 ? NVML_EVENT_XID : strtoull(kind, NULL, 0);
    e.data = strtoull(rest, NULL, 0);
    if (e.sequence > s->last_event) s->last_event = e.sequence;
    s->events[s->event_count++] = e;
}

static void add_fact(struct snapshot *s, unit_t unit, char *name, char *text) {
    struct key key = parse_key(name);
    *slot(s, unit, &key) = (struct entry){key, unit, parse_value(text)};
}

static void parse_line(struct snapshot *s, char *line) {
    unit_t unit;
    line += strspn(line, " \t");
    if (*line == '#') return;
    char *end = strstr(line, " #");
    if (!end) end = line + strlen(line);
    while (end > line && strchr(" \t\r", end[-1])) end--;
    *end = '\0';
    if (*line == '\0') return;
    char *word = next_word(&line);
    if (strcmp(word, "fault") == 0) add_fault(s, line);
    else if (strcmp(word, "event") == 0) add_event(s, line);
    else if (!parse_unit(word, &unit)) add_fact(s, UNIT_SYSTEM, word, line);
    else {
        char *name = next_word(&line);
        add_fact(s, unit, name, line);
    }
}

static double system_number(const struct snapshot *s, const char *name, double otherwise) {
    const struct value *v = lookup(s, UNIT_SYSTEM, KEY(name));
    return v && v->shape == SHAPE_NUMBER ? v->real : otherwise;
}

static void snapshot_free(struct snapshot *s) {
    free(s->text);
    free(s->table);
    free(s->faults);
    free(s->events);
    free(s);
}

static double library_loaded_at;

/* Takes the text over. */
static struct snapshot *parse(char *text) {
    size_t lines = 1, slots = 16;
    for (char *p = text; *p; p++) lines += *p == '\n';
    while (slots < 2 * lines) slots *= 2;
    struct snapshot *s = calloc(1, sizeof *s);
    if (!s) abort();
    s->references = 1;
    s->text = text;
    s->table_mask = slots - 1;
    s->table = calloc(slots, sizeof *s->table);
    s->faults = calloc(lines, sizeof *s->faults);
    s->events = calloc(lines, sizeof *s->events);
    if (!s->table || !s->faults || !s->events) abort();
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) parse_line(s, line);
    s->gpus = (uint32_t)system_number(s, "gpus", 0);
    if (s->gpus > MAX_GPUS) s->gpus = MAX_GPUS;
    s->generation = (uint64_t)system_number(s, "generation", 0);
    s->epoch = system_number(s, "epoch", library_loaded_at);
    return s;
}

/* ---------------------------------------------------------------- noticing a change */

/* A counter in shared memory beside the control file, rung by the harness after each
 * change: a call then costs one load instead of a system call, and still never answers
 * from an old file. A hand-written control file works without. */
static const volatile uint64_t *_Atomic doorbell;
static _Atomic uint64_t doorbell_seen;
static _Atomic int64_t next_check_ns;

static pthread_mutex_t current_lock = PTHREAD_MUTEX_INITIALIZER; /* `current` and references */
static struct snapshot *current;
static pthread_mutex_t reload_lock = PTHREAD_MUTEX_INITIALIZER; /* all below */
static struct stat loaded;

const char *control_path(void) { return getenv("FAKENVML_CONTROL"); }

static void map_doorbell(const char *path) {
    char name[4096];
    snprintf(name, sizeof name, "%s.bell", path);
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    struct stat st;
    if (fstat(fd, &st) == 0 && st.st_size >= (off_t)sizeof *doorbell) {
        void *p = mmap(NULL, sizeof *doorbell, PROT_READ, MAP_SHARED, fd, 0);
        if (p != MAP_FAILED) doorbell = p;
    }
    close(fd);
}

static char *read_file(int fd, const struct stat *st) {
    char *text = malloc((size_t)st->st_size + 1);
    size_t have = 0;
    if (!text) return NULL;
    for (ssize_t n; have < (size_t)st->st_size; have += (size_t)n) {
        n = read(fd, text + have, (size_t)st->st_size - have);
        if (n <= 0) break;
    }
    text[have] = '\0';
    return text;
}

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_dev == b->st_dev && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* A file that went away changes nothing: the last facts stand. */
static void reload(const char *path, bool rung) {
    struct stat st;
    if (stat(path, &st) != 0 || (current && !rung && same_file(&st, &loaded))) return;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    char *text = fstat(fd, &st) == 0 ? read_file(fd, &st) : NULL;
    close(fd);
    if (!text) return;
    struct snapshot *fresh = parse(text);
    loaded = st;
    pthread_mutex_lock(&current_lock);
    struct snapshot *old = current;
    current = fresh;
    pthread_mutex_unlock(&current_lock);
    snapshot_release(old);
}

static int64_t coarse_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &t); /* no system call, 1-4 ms steps */
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static bool look_needed(void) {
    const volatile uint64_t *bell = atomic_load_explicit(&doorbell, memory_order_acquire);
    if (bell) return *bell != atomic_load_explicit(&doorbell_seen, memory_order_acquire);
    return coarse_ns() >= atomic_load_explicit(&next_check_ns, memory_order_relaxed);
}

struct snapshot *snapshot_acquire(bool look) {
    if (look || look_needed()) {
        pthread_mutex_lock(&reload_lock);
        const char *path = control_path();
        if (path && (look || look_needed())) {
            if (!doorbell) map_doorbell(path);
            uint64_t bell = doorbell ? *doorbell : 0;
            reload(path, doorbell && bell != atomic_load(&doorbell_seen));
            atomic_store_explicit(&doorbell_seen, bell, memory_order_release);
            atomic_store_explicit(&next_check_ns, coarse_ns() + CHECK_INTERVAL_NS,
                                  memory_order_relaxed);
        }
        pthread_mutex_unlock(&reload_lock);
    }
    pthread_mutex_lock(&current_lock);
    struct snapshot *s = current;
    if (s) s->references++;
    pthread_mutex_unlock(&current_lock);
    return s;
}

void snapshot_release(struct snapshot *s) {
    if (!s) return;
    pthread_mutex_lock(&current_lock);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&current_lock);
    if (last) snapshot_free(s);
}

__attribute__((constructor)) static void remember_load(void) {
    library_loaded_at = (double)now_us() / 1e6;
}
