/*
 * The first entry of a stack that has never run: what neither _longjmp nor any other part of ISO C can do.
 */
#ifndef KAPOK_BOOT_H
#define KAPOK_BOOT_H

#include <stddef.h>

#include "record.h"

/*
 * Leaves the current stack for good and calls entry(arg) on the stack [low, low + size). The signal mask stays what it
 * is. `entry` must not return.
 */
KAPOK_HIDDEN _Noreturn void kapok_boot(void *low, size_t size, void (*entry)(void *), void *arg);

/* How much of the stack kapok_boot takes for itself, for good. */
KAPOK_HIDDEN size_t kapok_boot_bytes(void);

#endif
