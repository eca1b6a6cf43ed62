/* Sizes, alignments and offsets as this C compiler sees them, for the Rust side to compare its own with. */
#include "kapok_fctx.h"

struct probe_transfer {
    char c;
    kapok_transfer_t t;
};
struct probe_engine {
    char c;
    struct kapok_engine e;
};

extern const size_t kapok_layout[];
extern const size_t kapok_layout_len;

_Static_assert(sizeof(kapok_transfer_t) == 2 * sizeof(void *), "kapok_transfer_t has to be Boost's transfer_t");

const size_t kapok_layout[] = {
    sizeof(kapok_transfer_t),
    offsetof(struct probe_transfer, t),
    offsetof(kapok_transfer_t, fctx),
    offsetof(kapok_transfer_t, data),
    sizeof(struct kapok_engine),
    offsetof(struct probe_engine, e),
    offsetof(struct kapok_engine, name),
    offsetof(struct kapok_engine, make),
    offsetof(struct kapok_engine, jump),
    offsetof(struct kapok_engine, ontop),
};
const size_t kapok_layout_len = sizeof kapok_layout / sizeof kapok_layout[0];
