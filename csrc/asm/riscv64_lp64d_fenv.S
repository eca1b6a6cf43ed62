/* Engine "asm" on riscv64 once more, keeping the rounding mode of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "riscv64_lp64d.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
