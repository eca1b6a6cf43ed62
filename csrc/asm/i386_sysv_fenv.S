/* Engine "asm" on i386 once more, keeping MXCSR and the x87 control word of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "i386_sysv.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
