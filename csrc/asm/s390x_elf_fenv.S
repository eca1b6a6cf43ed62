/* Engine "asm" on s390x once more, keeping FPC of each context. */
#ifdef KAPOK_BOOST_NAMES
#define KAPOK_KEEP_FENV
#include "s390x_elf.S"
#elif defined(__ELF__)
    .section .note.GNU-stack, "", %progbits
#endif
