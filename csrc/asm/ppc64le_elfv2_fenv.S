/* Engine "asm" on ppc64le once more, keeping the control bits of FPSCR of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "ppc64le_elfv2.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
