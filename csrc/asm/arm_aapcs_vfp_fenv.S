/* Engine "asm" on 32-bit ARM once more, keeping FPSCR of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "arm_aapcs_vfp.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
