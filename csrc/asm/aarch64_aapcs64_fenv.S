/* Engine "asm" on aarch64 once more, keeping FPCR of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "aarch64_aapcs64.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
