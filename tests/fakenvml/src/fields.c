/* nvmlDeviceGetFieldValues: one batch per GPU, a return code per value. */
#include <string.h>

#include "call.h"

/*
 * The value type the driver gives a field. For most this is what the binding's comments
 * and DCGM's readers expect; where neither says, it is our guess, so readers must go by
 * valueType, and a control file may say otherwise ("field.191 u32:5").
 */
static enum value_type usual_type(uint32_t id) {
    static const struct {
        uint32_t first, last;
        enum value_type type;
    } RANGES[] = {
        {3, 28, TYPE_U64},    /* ECC counts */
        {32, 81, TYPE_U64},   /* NVLink errors per lane; ns in a performance policy */
        {83, 83, TYPE_U64},   /* energy, mJ */
        {96, 131, TYPE_U64},  /* NVLink errors per lane, links 6 to 11 */
        {138, 141, TYPE_U64}, /* NVLink KiB */
        {148, 163, TYPE_U64}, /* NVLink ECC and DL errors */
        {191, 191, TYPE_U64}, /* energy, mJ */
        {193, 196, TYPE_I32}, /* T.Limit offsets, zero or negative */
        {197, 198, TYPE_U64}, /* PCIe bytes */
        {201, 222, TYPE_U64}, /* NVLink 5 counters */
        {231, 233, TYPE_U64}, /* C2C errors */
        {235, 250, TYPE_U64}, /* FEC histogram */
        {269, 273, TYPE_U64}, /* ns in a clock event reason, power-sync accumulators */
        {289, 296, TYPE_U64}, /* NVLink raw errors, data rate */
    };
    for (size_t i = 0; i < sizeof RANGES / sizeof *RANGES; i++)
        if (id >= RANGES[i].first && id <= RANGES[i].last) return RANGES[i].type;
    return TYPE_U32;
}

static void store(nvmlValue_t *out, enum value_type type, uint64_t integer, double real) {
    memset(out, 0, sizeof *out);
    switch (type) {
    case TYPE_DOUBLE: out->dVal = real; break;
    case TYPE_U32: out->uiVal = (uint32_t)integer; break;
    case TYPE_ULONG: out->ulVal = (unsigned long)integer; break;
    case TYPE_I64: out->sllVal = (int64_t)integer; break;
    case TYPE_I32: out->siVal = (int32_t)integer; break;
    case TYPE_U16: out->usVal = (uint16_t)integer; break;
    default: out->ullVal = integer; break;
    }
}

static const struct value *field(const struct call *call, uint32_t id, uint32_t scope) {
    const struct value *v = lookup(call->snapshot, call->unit, AT("field", id, scope));
    /* Field 191 is the same counter as 83: stating 83 is enough. */
    if (!v && id == 191 && scope == 0) v = lookup(call->snapshot, call->unit, FIELD(83));
    return v;
}

static void read_field(const struct call *call, nvmlFieldValue_t *out) {
    const struct value *v = field(call, out->fieldId, out->scopeId);
    uint64_t integer;
    double real;
    if (!v || v->error || v->shape == SHAPE_TEXT) {
        out->nvmlReturn = !v ? NVML_NOT_SUPPORTED : v->error ? v->error : NVML_UNKNOWN;
        return;
    }
    evaluate(call->snapshot, v, &integer, &real);
    out->nvmlReturn = NVML_SUCCESS;
    out->valueType = v->type != TYPE_UNSET ? v->type : usual_type(out->fieldId);
    store(&out->value, out->valueType, integer, real);
}

FUNCTION(nvmlDeviceGetFieldValues)(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    struct call call;
    nvmlReturn_t rc = call_begin(&call, &fn_nvmlDeviceGetFieldValues, device), all;
    if (rc != NVML_SUCCESS) return rc;
    if (count < 1 || !values) return call_end(&call, NVML_INVALID_ARGUMENT);
    count_fields(call.unit, count);
    bool refused = value_error(&call, &all);
    uint64_t latency = 0, time = now_us();
    number(&call, KEYS(KEY("field_latency_us")), &latency);
    for (int i = 0; i < count; i++) {
        values[i].timestamp = (int64_t)time;
        values[i].latencyUsec = (int64_t)latency;
        if (refused) values[i].nvmlReturn = all;
        else read_field(&call, &values[i]);
    }
    return call_end(&call, NVML_SUCCESS);
}
