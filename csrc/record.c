/* The parts of a context that do not depend on how it is switched. */
#include "record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RECORD_ALIGN ((uintptr_t)64) /* a cache line; no ABI asks for more at a stack's high end */

void *kapok_place_record(void *sp, size_t size, size_t record_size, size_t boot_size, size_t jump_record_size)
{
    uintptr_t high = (uintptr_t)sp;
    size_t needed = record_size + RECORD_ALIGN + boot_size + KAPOK_FIRST_FRAMES_BYTES + jump_record_size;

    /* Aligning the record eats up to RECORD_ALIGN - 1 bytes. */
    if (high == 0 || size > high || size < needed)
        return NULL;
    return (void *)((high - record_size) & ~(RECORD_ALIGN - 1));
}

void kapok_run_entry(struct kapok_head *head, kapok_entry_fn fn)
{
    kapok_transfer_t transfer = head->transfer;

    if (head->ontop != NULL)
        transfer = head->ontop(transfer);
    fn(transfer);
    kapok_die_returned();
}

void kapok_die_returned(void)
{
    kapok_die("a context function returned; it has to end by a jump to another context");
}

static void say(const char *text)
{
    size_t left = strlen(text);

    while (left > 0) {
        ssize_t n = write(STDERR_FILENO, text, left);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        text += n;
        left -= (size_t)n;
    }
}

void kapok_die(const char *sentence)
{
    say("kapok: ");
    say(sentence);
    say("\n");
    abort();
}

void kapok_die_bad_handle(const struct kapok_head *to)
{
    size_t i;

    if (to == NULL)
        kapok_die("jump to a NULL context handle");
    for (i = 0; i < kapok_engine_count; i++)
        if (to->state == KAPOK_SUSPENDED(kapok_engines[i]) || to->state == KAPOK_FRESH(kapok_engines[i]))
            kapok_die("jump to a context handle that another switch engine made");
    kapok_die("jump to a context handle that was used before: a handle is good for one jump, "
              "the next one arrives in the transfer");
}
