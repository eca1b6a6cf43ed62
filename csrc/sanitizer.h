/*
 * What the sanitizers have to be told of a switch: which stack is left and which one is entered (AddressSanitizer), whose
 * accesses these are from now on (ThreadSanitizer). In other builds there is nothing to tell, and nothing is.
 */
#ifndef KAPOK_SANITIZER_H
#define KAPOK_SANITIZER_H

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define KAPOK_ASAN
#elif __has_feature(thread_sanitizer)
#define KAPOK_TSAN
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define KAPOK_ASAN
#elif defined(__SANITIZE_THREAD__)
#define KAPOK_TSAN
#endif

#if defined(KAPOK_ASAN) || defined(KAPOK_TSAN)
#define KAPOK_SANITIZED(...) __VA_ARGS__

#include <stddef.h>

/* What belongs to a context while it is suspended. */
struct kapok_sanitized {
    const void *low;
    size_t size;
    void *kept; /* ASan's fake stack, or TSan's fiber, which is never given back */
};

#ifdef KAPOK_ASAN
/* As in <sanitizer/common_interface_defs.h>, which is not installed with every compiler that has the sanitizer. */
void __sanitizer_start_switch_fiber(void **kept, const void *low, size_t size);
void __sanitizer_finish_switch_fiber(void *kept, const void **left_low, size_t *left_size);
void __asan_unpoison_memory_region(const volatile void *low, size_t size);

/* Of the frames that have been on this stack before, if there were any, nothing is left. */
static inline void kapok_sanitize_stack(const void *low, size_t size)
{
    __asan_unpoison_memory_region(low, size);
}

static inline void kapok_sanitize_fresh(struct kapok_sanitized *fresh, const void *low, size_t size)
{
    fresh->low = low;
    fresh->size = size;
    fresh->kept = NULL;
}

/* The last thing before the switch. */
static inline void kapok_sanitize_leaving(struct kapok_sanitized *self, const struct kapok_sanitized *to)
{
    __sanitizer_start_switch_fiber(&self->kept, to->low, to->size);
}

/* The first thing after it: only here it is known on which stack `left` was. */
static inline void kapok_sanitize_arrived(const struct kapok_sanitized *self, struct kapok_sanitized *left)
{
    __sanitizer_finish_switch_fiber(self->kept, &left->low, &left->size);
}
#else
/* As in <sanitizer/tsan_interface.h>. */
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);

static inline void kapok_sanitize_stack(const void *low, size_t size)
{
    (void)low;
    (void)size;
}

static inline void kapok_sanitize_fresh(struct kapok_sanitized *fresh, const void *low, size_t size)
{
    fresh->low = low;
    fresh->size = size;
    fresh->kept = __tsan_create_fiber(0);
}

static inline void kapok_sanitize_leaving(struct kapok_sanitized *self, const struct kapok_sanitized *to)
{
    self->kept = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->kept, 0);
}

static inline void kapok_sanitize_arrived(const struct kapok_sanitized *self, struct kapok_sanitized *left)
{
    (void)self;
    (void)left;
}
#endif
#else
#define KAPOK_SANITIZED(...)
#endif

#endif
