/*
 * NAME
 *     boost_names - a C++ program that uses Boost.Context's three functions by Boost's names
 *
 * SYNOPSIS
 *     cc -O2 -fexceptions -DKAPOK_BOOST_NAMES -c csrc/ *.c     (without the blank)
 *     c++ csrc/test/boost_names.cpp *.o -lm -o boost_names
 *     ./boost_names            every test
 *     ./boost_names common     those that Boost's own library passes too
 *
 * DESCRIPTION
 *     The declarations below are those of <boost/context/detail/fcontext.hpp>, so the program can be linked with
 *     Boost's assembly instead (-lboost_context). tests/boost_names.rs compares what the two print: this program says
 *     what it sees, not only that it was right. What Boost forbids is not done here. The one thing that only our
 *     functions define is ontop_fcontext on a context that has never run: Boost's x86-64 assembly (1.74) then calls the
 *     context function with its arguments undefined.
 *
 * EXIT STATUS
 *     0, or 1 after a line "not so: ..." on standard error.
 */
#include <cfenv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "valgrind_stacks.h"

typedef void *fcontext_t;

struct transfer_t {
    fcontext_t fctx;
    void *data;
};

extern "C" transfer_t jump_fcontext(fcontext_t const to, void *vp);
extern "C" fcontext_t make_fcontext(void *sp, std::size_t size, void (*fn)(transfer_t));
extern "C" transfer_t ontop_fcontext(fcontext_t const to, void *vp, transfer_t (*fn)(transfer_t));

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                               \
            std::exit(EXIT_FAILURE);                                                                                   \
        }                                                                                                              \
    } while (0)

namespace
{

/* A stack from malloc: whoever allocates, the functions do not care. */
class stack
{
  public:
    explicit stack(std::size_t size = 128 * 1024)
        : size_(size), low_(static_cast<char *>(std::malloc(size))), valgrind_id_(0)
    {
        CHECK(low_ != nullptr);
        valgrind_id_ = VALGRIND_STACK_REGISTER(low_, low_ + size);
    }
    stack(const stack &) = delete;
    stack &operator=(const stack &) = delete;
    ~stack()
    {
        VALGRIND_STACK_DEREGISTER(valgrind_id_);
        std::free(low_);
    }

    fcontext_t make(void (*fn)(transfer_t)) const
    {
        fcontext_t made = make_fcontext(low_ + size_, size_, fn);
        CHECK(made != nullptr);
        return made;
    }

    bool holds(const volatile void *p) const
    {
        std::uintptr_t at = reinterpret_cast<std::uintptr_t>(p), low = reinterpret_cast<std::uintptr_t>(low_);
        return at >= low && at < low + size_;
    }

  private:
    std::size_t size_;
    char *low_;
    unsigned int valgrind_id_;
};

void say(const std::string &what)
{
    std::printf("    %s\n", what.c_str());
}

/* Says when it comes to life and when it dies: that destructors run, and in which order. */
class witness
{
  public:
    explicit witness(const char *name) : name_(name)
    {
        say("+ " + name_);
    }
    witness(const witness &) = delete;
    witness &operator=(const witness &) = delete;
    ~witness()
    {
        say("- " + name_);
    }

  private:
    std::string name_;
};

/* Boost unwinds a suspended context by throwing one of these on top of it. */
struct unwind {
    fcontext_t from;
};

transfer_t throw_unwind(transfer_t t)
{
    throw unwind{t.fctx};
}

/* ---- control and data ---- */

void note_and_return_twice(transfer_t t)
{
    int *value = static_cast<int *>(t.data);
    *value += 1;
    t = jump_fcontext(t.fctx, value);
    value = static_cast<int *>(t.data);
    *value *= 2;
    jump_fcontext(t.fctx, value);
}

void data_pointers()
{
    stack s;
    int first = 1, second = 21;
    transfer_t t = jump_fcontext(s.make(note_and_return_twice), &first);
    CHECK(t.data == &first && s.holds(t.fctx));
    t = jump_fcontext(t.fctx, &second);
    CHECK(t.data == &second);
    say(std::to_string(first) + " " + std::to_string(second));
}

void increment_for_ever(transfer_t t)
{
    for (;;) {
        ++*static_cast<unsigned long *>(t.data);
        t = jump_fcontext(t.fctx, t.data);
    }
}

void thousands_of_switches()
{
    stack s;
    unsigned long count = 0;
    transfer_t t = {s.make(increment_for_ever), nullptr};
    for (int i = 0; i < 100000; i++)
        t = jump_fcontext(t.fctx, &count);
    say(std::to_string(count));
}

void nest(transfer_t t)
{
    int depth = *static_cast<int *>(t.data), inner_depth = depth - 1;
    say("in at " + std::to_string(depth));
    if (depth > 0) {
        stack s;
        transfer_t inner = jump_fcontext(s.make(nest), &inner_depth);
        say("back at " + std::to_string(depth));
        inner = jump_fcontext(inner.fctx, nullptr);
        CHECK(inner.data == nullptr);
    }
    t = jump_fcontext(t.fctx, nullptr);
    say("out at " + std::to_string(depth));
    jump_fcontext(t.fctx, nullptr);
}

void nested_contexts()
{
    stack s;
    int depth = 5;
    transfer_t t = jump_fcontext(s.make(nest), &depth);
    jump_fcontext(t.fctx, nullptr);
}

/* ---- ontop ---- */

transfer_t halve_on_top(transfer_t t)
{
    *static_cast<int *>(t.data) /= 2;
    say("on top");
    return t;
}

void report_each(transfer_t t)
{
    for (;;) {
        say("got " + std::to_string(*static_cast<int *>(t.data)));
        t = jump_fcontext(t.fctx, t.data);
    }
}

void ontop_of_a_running_context()
{
    stack s;
    int value = 64;
    transfer_t t = jump_fcontext(s.make(report_each), &value);
    t = ontop_fcontext(t.fctx, &value, halve_on_top);
    t = jump_fcontext(t.fctx, &value);
    t = ontop_fcontext(t.fctx, &value, halve_on_top);
    CHECK(t.data == &value);
    say(std::to_string(value));
}

void ontop_of_a_fresh_context()
{
    stack s;
    int value = 64;
    transfer_t t = ontop_fcontext(s.make(report_each), &value, halve_on_top);
    t = ontop_fcontext(t.fctx, &value, halve_on_top);
    CHECK(t.data == &value);
    say(std::to_string(value));
}

transfer_t delete_stack(transfer_t t)
{
    stack *left = static_cast<stack *>(t.data);
    CHECK(left->holds(t.fctx));
    delete left;
    return {nullptr, nullptr};
}

void end_and_be_deleted(transfer_t t)
{
    ontop_fcontext(t.fctx, t.data, delete_stack);
}

void the_stack_is_deleted_by_the_next_context()
{
    for (int i = 0; i < 1000; i++) {
        stack *s = new stack(64 * 1024);
        transfer_t t = jump_fcontext(s->make(end_and_be_deleted), s);
        CHECK(t.fctx == nullptr);
    }
}

/* ---- exceptions ---- */

void throw_at(int depth)
{
    witness w("frame");
    if (depth == 0)
        throw std::runtime_error("from the depth");
    throw_at(depth - 1);
}

void throw_and_catch(transfer_t t)
{
    for (int i = 0; i < 2; i++) {
        try {
            throw_at(2);
        } catch (const std::exception &e) {
            say(std::string("caught ") + e.what());
        }
        t = jump_fcontext(t.fctx, nullptr);
    }
    jump_fcontext(t.fctx, nullptr);
}

void exceptions_inside_a_context()
{
    stack s;
    transfer_t t = jump_fcontext(s.make(throw_and_catch), nullptr);
    try {
        throw std::logic_error("meanwhile");
    } catch (const std::exception &e) {
        say(std::string("caught ") + e.what());
    }
    t = jump_fcontext(t.fctx, nullptr);
    jump_fcontext(t.fctx, nullptr);
}

/* Suspended between the try and the throw, with a destructor to run on the way. */
void throw_when_told(transfer_t t)
{
    std::string name = static_cast<const char *>(t.data);
    try {
        witness w(name.c_str());
        t = jump_fcontext(t.fctx, nullptr);
        throw std::runtime_error(name);
    } catch (const std::exception &e) {
        say(std::string("caught ") + e.what());
    }
    jump_fcontext(t.fctx, nullptr);
}

void two_contexts_throw_in_turn()
{
    stack a, b;
    char name_a[] = "a", name_b[] = "b";
    transfer_t in_a = jump_fcontext(a.make(throw_when_told), name_a);
    transfer_t in_b = jump_fcontext(b.make(throw_when_told), name_b);
    jump_fcontext(in_a.fctx, nullptr);
    jump_fcontext(in_b.fctx, nullptr);
}

void unwind_when_told(transfer_t t)
{
    fcontext_t back = nullptr;
    try {
        witness outer("outer");
        witness inner("inner");
        t = jump_fcontext(t.fctx, nullptr);
        say("never said");
    } catch (const unwind &u) {
        back = u.from;
    }
    jump_fcontext(back, nullptr);
}

void an_exception_thrown_on_top()
{
    stack s;
    transfer_t t = jump_fcontext(s.make(unwind_when_told), nullptr);
    say("unwinding");
    t = ontop_fcontext(t.fctx, nullptr, throw_unwind);
    say("unwound");
    CHECK(t.data == nullptr);
}

transfer_t throw_what_is_given(transfer_t t)
{
    std::exception_ptr *given = static_cast<std::exception_ptr *>(t.data);
    std::rethrow_exception(*given);
}

void throw_into_main(transfer_t t)
{
    std::exception_ptr thrown = std::make_exception_ptr(std::out_of_range("out of the context"));
    ontop_fcontext(t.fctx, &thrown, throw_what_is_given);
}

void an_exception_thrown_on_top_of_main()
{
    stack s;
    try {
        witness w("main's");
        jump_fcontext(s.make(throw_into_main), nullptr);
        say("never said");
    } catch (const std::out_of_range &e) {
        say(std::string("caught ") + e.what());
    }
}

void wait_at_depth(fcontext_t back, const std::string &name, int depth)
{
    witness w((name + " at " + std::to_string(depth)).c_str());
    if (depth > 0)
        wait_at_depth(back, name, depth - 1);
    else
        jump_fcontext(back, nullptr);
    say("never said");
}

void wait_to_be_unwound(transfer_t t)
{
    fcontext_t back = nullptr;
    try {
        wait_at_depth(t.fctx, static_cast<const char *>(t.data), 2);
    } catch (const unwind &u) {
        back = u.from;
    }
    jump_fcontext(back, nullptr);
}

void contexts_are_unwound_in_any_order()
{
    stack stacks[3];
    char names[3][2] = {"a", "b", "c"};
    fcontext_t contexts[3];
    const int order[3] = {1, 2, 0};
    for (int i = 0; i < 3; i++)
        contexts[i] = jump_fcontext(stacks[i].make(wait_to_be_unwound), names[i]).fctx;
    for (int i : order)
        ontop_fcontext(contexts[i], nullptr, throw_unwind);
}

/* ---- floating point ---- */

void divide(transfer_t t)
{
    double x = *static_cast<double *>(t.data);
    for (;;) {
        x /= 7;
        t = jump_fcontext(t.fctx, &x);
    }
}

void floating_point_values()
{
    stack s;
    double start = 7e10, here = 1;
    transfer_t t = {s.make(divide), &start};
    for (int i = 0; i < 5; i++) {
        here *= 1.1;
        t = jump_fcontext(t.fctx, t.data);
    }
    char text[80];
    std::snprintf(text, sizeof text, "%.17g %.17g", here, *static_cast<double *>(t.data));
    say(text);
}

void print_and_scan(transfer_t t)
{
    char text[80];
    double x = 0;
    std::snprintf(text, sizeof text, "%f %Lf %g", 3.14159, 2.5L, -1e-7);
    say(text);
    CHECK(std::sscanf("3.5 rest", "%lf", &x) == 1);
    say(std::to_string(x));
    jump_fcontext(t.fctx, nullptr);
}

void print_and_scan_doubles()
{
    stack s;
    jump_fcontext(s.make(print_and_scan), nullptr);
}

const char *rounding()
{
    switch (std::fegetround()) {
    case FE_TONEAREST:
        return "nearest";
    case FE_UPWARD:
        return "up";
    case FE_DOWNWARD:
        return "down";
    case FE_TOWARDZERO:
        return "to zero";
    default:
        return "unknown";
    }
}

/* The mode, and that the arithmetic obeys it: the x87 and the SSE unit have one each. */
void say_rounding(const char *who)
{
    volatile double one = 1, three = 3;
    volatile long double long_one = 1, long_three = 3;
    volatile double third = one / three;
    volatile long double long_third = long_one / long_three;
    char text[160];
    std::snprintf(text, sizeof text, "%s: %s %a %La", who, rounding(), static_cast<double>(third),
                  static_cast<long double>(long_third));
    say(text);
}

transfer_t say_rounding_on_top(transfer_t t)
{
    say_rounding("on top");
    return t;
}

void change_rounding(transfer_t t)
{
    say_rounding("context, fresh");
    std::fesetround(FE_DOWNWARD);
    t = jump_fcontext(t.fctx, nullptr);
    say_rounding("context, back");
    t = jump_fcontext(t.fctx, nullptr);
    say_rounding("context, after on top");
    jump_fcontext(t.fctx, nullptr);
}

void the_rounding_mode_belongs_to_the_context()
{
    stack s;
    std::fesetround(FE_TOWARDZERO);
    fcontext_t made = s.make(change_rounding);
    std::fesetround(FE_UPWARD);
    transfer_t t = jump_fcontext(made, nullptr); /* it starts as its maker was then */
    say_rounding("main");
    std::fesetround(FE_TONEAREST);
    t = jump_fcontext(t.fctx, nullptr);
    say_rounding("main");
    t = ontop_fcontext(t.fctx, nullptr, say_rounding_on_top);
    say_rounding("main");
}

void ontop_of_a_fresh_context_has_its_rounding_mode()
{
    stack s;
    std::fesetround(FE_UPWARD);
    fcontext_t made = s.make(change_rounding);
    std::fesetround(FE_TONEAREST);
    ontop_fcontext(made, nullptr, say_rounding_on_top);
    say_rounding("main");
}

/* ---- threads ---- */

void another_thread_resumes()
{
    stack s;
    unsigned long count = 0;
    transfer_t t = jump_fcontext(s.make(increment_for_ever), &count);
    std::thread([&] { t = jump_fcontext(t.fctx, &count); }).join();
    t = jump_fcontext(t.fctx, &count);
    CHECK(s.holds(t.fctx));
    say(std::to_string(count));
}

struct test {
    const char *name;
    void (*run)();
    bool only_ours;
};

#define TEST(function)                                                                                                 \
    {                                                                                                                  \
#function, function, false                                                                                     \
    }
#define TEST_OF_OURS(function)                                                                                         \
    {                                                                                                                  \
#function, function, true                                                                                      \
    }

const test tests[] = {
    TEST(data_pointers),
    TEST(thousands_of_switches),
    TEST(nested_contexts),
    TEST(ontop_of_a_running_context),
    TEST_OF_OURS(ontop_of_a_fresh_context),
    TEST(the_stack_is_deleted_by_the_next_context),
    TEST(exceptions_inside_a_context),
    TEST(two_contexts_throw_in_turn),
    TEST(an_exception_thrown_on_top),
    TEST(an_exception_thrown_on_top_of_main),
    TEST(contexts_are_unwound_in_any_order),
    TEST(floating_point_values),
    TEST(print_and_scan_doubles),
    TEST(the_rounding_mode_belongs_to_the_context),
    TEST_OF_OURS(ontop_of_a_fresh_context_has_its_rounding_mode),
    TEST(another_thread_resumes),
};

} // namespace

int main(int argc, char **argv)
{
    bool common = argc == 2 && std::strcmp(argv[1], "common") == 0;
    int passed = 0;
    if (argc > 1 && !common) {
        std::fprintf(stderr, "usage: %s [common]\n", argv[0]);
        return 2;
    }
    for (const test &t : tests) {
        if (common && t.only_ours)
            continue;
        std::printf("%s\n", t.name);
        t.run();
        passed++;
        (void)std::fflush(stdout);
    }
    std::printf("%d passed, 0 failed\n", passed);
    return EXIT_SUCCESS;
}
