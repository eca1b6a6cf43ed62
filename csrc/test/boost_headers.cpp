/*
 * NAME
 *     boost_headers - Boost's own fiber, continuation and coroutine classes on top of our three functions
 *
 * SYNOPSIS
 *     cc -O2 -fexceptions -DKAPOK_BOOST_NAMES -c csrc/ *.c     (without the blank)
 *     c++ -std=c++17 csrc/test/boost_headers.cpp *.o -lboost_context -lm -o boost_headers
 *     c++ -std=c++17 csrc/test/boost_headers.cpp -lboost_context -o boost_headers_by_boost
 *
 * DESCRIPTION
 *     Boost's classes are in headers and call make_fcontext, jump_fcontext and ontop_fcontext. Boost's library has
 *     these and stack_traits, which the stack allocators ask for sizes. In the first of the programs above our objects
 *     come before the library, so that only stack_traits is taken from it. Both have to print the same;
 *     tests/boost_names.rs compares them, and knows ours by what it does when KAPOK_SWITCH is wrong.
 *
 * EXIT STATUS
 *     0, or 1 after a line "not so: ..." on standard error, or 77 where Boost is not installed.
 */
#include <cstdio>
#include <cstdlib>

#if defined(__has_include) && __has_include(<boost/context/fiber.hpp>) &&                                             \
    __has_include(<boost/context/continuation.hpp>) && __has_include(<boost/coroutine2/all.hpp>)

#include <boost/context/continuation.hpp>
#include <boost/context/fiber.hpp>
#include <boost/context/fixedsize_stack.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <boost/context/protected_fixedsize_stack.hpp>
#include <boost/coroutine2/all.hpp>

#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace ctx = boost::context;
namespace coro = boost::coroutines2;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);                               \
            std::exit(EXIT_FAILURE);                                                                                   \
        }                                                                                                              \
    } while (0)

namespace
{

void say(const std::string &what)
{
    std::printf("    %s\n", what.c_str());
}

/* Says when it comes to life and when it dies. */
class witness
{
  public:
    explicit witness(const std::string &name) : name_(name)
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

/* ---- fiber ---- */

void fiber_resume()
{
    int value = 1;
    ctx::fiber f{[&value](ctx::fiber &&main) {
        for (int i = 0; i < 3; i++) {
            value *= 3;
            main = std::move(main).resume();
        }
        return std::move(main);
    }};
    while (f) {
        f = std::move(f).resume();
        say(std::to_string(value));
    }
}

void fiber_resumes_a_fiber()
{
    ctx::fiber second, third;
    ctx::fiber first{[&](ctx::fiber &&main) {
        say("first");
        second = ctx::fiber{[&](ctx::fiber &&from_first) {
            say("second");
            third = ctx::fiber{[&](ctx::fiber &&from_second) {
                say("third");
                return std::move(from_second);
            }};
            third = std::move(third).resume();
            CHECK(!third);
            return std::move(from_first);
        }};
        second = std::move(second).resume();
        CHECK(!second);
        return std::move(main);
    }};
    first = std::move(first).resume();
    CHECK(!first);
}

/* A function may return another fiber than the one that resumed it. */
void fiber_ends_in_another()
{
    ctx::fiber main_fiber;
    ctx::fiber last{[&](ctx::fiber &&) {
        say("last");
        return std::move(main_fiber);
    }};
    ctx::fiber first{[&](ctx::fiber &&main) {
        say("first");
        main_fiber = std::move(main);
        return std::move(last);
    }};
    first = std::move(first).resume();
    CHECK(!first);
}

void fiber_resume_with()
{
    int value = 0;
    ctx::fiber f{[&value](ctx::fiber &&main) {
        witness w("local");
        while (value >= 0) {
            say("value " + std::to_string(value));
            main = std::move(main).resume();
        }
        return std::move(main);
    }};
    f = std::move(f).resume();
    for (int i = 1; i <= 3; i++)
        f = std::move(f).resume_with([&value, i](ctx::fiber &&main) {
            say("on top");
            value = 10 * i;
            return std::move(main);
        });
    value = -1;
    f = std::move(f).resume();
    CHECK(!f);
}

void fiber_resume_with_before_it_ran()
{
    bool ran = false;
    ctx::fiber f{[&ran](ctx::fiber &&main) {
        say("entered");
        CHECK(ran);
        return std::move(main);
    }};
    f = std::move(f).resume_with([&ran](ctx::fiber &&main) {
        say("on top");
        ran = true;
        return std::move(main);
    });
    CHECK(!f);
}

void fiber_throws_on_top()
{
    ctx::fiber f{[](ctx::fiber &&main) {
        for (;;) {
            try {
                witness w("attempt");
                main = std::move(main).resume();
                say("ends");
                return std::move(main);
            } catch (const std::pair<std::string, ctx::fiber *> &e) {
                say("caught " + e.first);
                main = std::move(*e.second);
            }
        }
    }};
    f = std::move(f).resume();
    for (int i = 0; i < 2; i++) {
        ctx::fiber carried;
        f = std::move(f).resume_with([&carried](ctx::fiber &&main) -> ctx::fiber {
            carried = std::move(main);
            throw std::make_pair(std::string("thrown on top"), &carried);
        });
    }
    f = std::move(f).resume();
    CHECK(!f);
}

void fiber_is_unwound()
{
    auto body = [](ctx::fiber &&main) {
        witness outer("outer");
        main = std::move(main).resume();
        {
            witness inner("inner");
            main = std::move(main).resume();
        }
        say("never said");
        return std::move(main);
    };
    {
        ctx::fiber f{body};
        f = std::move(f).resume();
        say("destroying, suspended once");
    }
    {
        ctx::fiber f{body};
        f = std::move(f).resume();
        f = std::move(f).resume();
        say("destroying, suspended twice");
    }
    {
        ctx::fiber f{body};
        say("destroying, never run");
    }
    say("done");
}

/* A fiber that owns another, which owns another: the destructor of one local unwinds the next fiber meanwhile. */
ctx::fiber chain(int depth)
{
    return ctx::fiber{[depth](ctx::fiber &&main) {
        witness w("level " + std::to_string(depth));
        ctx::fiber next;
        if (depth > 0)
            next = chain(depth - 1).resume();
        main = std::move(main).resume();
        say("never said");
        return std::move(main);
    }};
}

void fibers_that_own_fibers()
{
    ctx::fiber f = chain(3).resume();
    ctx::fiber g = chain(1).resume();
    f = ctx::fiber{};
    say("one chain is gone");
}

void fiber_exception_by_pointer()
{
    std::exception_ptr thrown;
    ctx::fiber f{[&thrown](ctx::fiber &&main) {
        try {
            witness w("local");
            main = std::move(main).resume();
            throw std::runtime_error("inside");
        } catch (const std::exception &) {
            thrown = std::current_exception();
        }
        return std::move(main);
    }};
    f = std::move(f).resume();
    f = std::move(f).resume();
    CHECK(!f);
    try {
        std::rethrow_exception(thrown);
    } catch (const std::runtime_error &e) {
        say(e.what());
    }
}

void fiber_floating_point()
{
    double there = 1e6;
    volatile double seven = 7;
    ctx::fiber f{[&there, seven](ctx::fiber &&main) {
        double x = there;
        for (int i = 0; i < 4; i++) {
            x /= seven;
            there = x;
            main = std::move(main).resume();
        }
        return std::move(main);
    }};
    double here = 1;
    while (f) {
        here *= 1.5;
        f = std::move(f).resume();
    }
    char text[80];
    std::snprintf(text, sizeof text, "%.17g %.17g %Lf", here, there, static_cast<long double>(here));
    say(text);
}

/* The same work on each kind of stack; the body prints, so that the stack is used. */
template <typename Allocator> void on_stacks_of(const char *name, Allocator &&allocator)
{
    int sum = 0;
    std::vector<ctx::fiber> fibers;
    for (int i = 0; i < 20; i++)
        fibers.emplace_back(std::allocator_arg, allocator, [&sum, i](ctx::fiber &&main) {
            char text[32];
            std::snprintf(text, sizeof text, "%f", i * 0.5);
            sum += static_cast<int>(std::strtod(text, nullptr) * 2);
            main = std::move(main).resume();
            sum += 1000;
            return std::move(main);
        });
    for (int round = 0; round < 2; round++)
        for (ctx::fiber &f : fibers)
            if (f && !(round == 1 && &f == &fibers[7])) /* one is left to be unwound */
                f = std::move(f).resume();
    say(std::string(name) + " " + std::to_string(sum));
}

void fiber_stack_allocators()
{
    on_stacks_of("fixedsize", ctx::fixedsize_stack(64 * 1024));
    on_stacks_of("protected", ctx::protected_fixedsize_stack(64 * 1024));
    on_stacks_of("pooled", ctx::pooled_fixedsize_stack(64 * 1024));
    on_stacks_of("default", ctx::default_stack());
}

struct preamble {
    int number;
};

/* Something of ours lies at the high end of the stack, and the context below it. */
void fiber_preallocated()
{
    ctx::protected_fixedsize_stack allocator(64 * 1024);
    ctx::stack_context sctx = allocator.allocate();
    void *place = static_cast<char *>(sctx.sp) - sizeof(preamble);
    preamble *ours = new (place) preamble{5};
    std::size_t size = sctx.size - sizeof(preamble);
    ctx::fiber f{std::allocator_arg, ctx::preallocated(place, size, sctx), allocator, [ours](ctx::fiber &&main) {
                     ours->number *= 2;
                     main = std::move(main).resume();
                     ours->number += 1;
                     say(std::to_string(ours->number));
                     return std::move(main);
                 }};
    f = std::move(f).resume();
    say(std::to_string(ours->number));
    f = std::move(f).resume();
    CHECK(!f);
}

void thousands_of_fibers()
{
    int sum = 0;
    ctx::pooled_fixedsize_stack allocator(16 * 1024);
    std::vector<ctx::fiber> fibers;
    for (int i = 0; i < 3000; i++)
        fibers.emplace_back(std::allocator_arg, allocator, [&sum, i](ctx::fiber &&main) {
            for (int round = 0; round < 3; round++) {
                sum += i % 10;
                main = std::move(main).resume();
            }
            return std::move(main);
        });
    for (int round = 0; round < 4; round++)
        for (ctx::fiber &f : fibers)
            f = std::move(f).resume();
    for (ctx::fiber &f : fibers)
        CHECK(!f);
    say(std::to_string(sum));
}

/* ---- continuation ---- */

void continuation_resume()
{
    int a = 0, b = 1;
    ctx::continuation c = ctx::callcc([&a, &b](ctx::continuation &&main) {
        for (;;) {
            main = main.resume();
            int next = a + b;
            a = b;
            b = next;
        }
        return std::move(main);
    });
    std::string line;
    for (int i = 0; i < 10; i++) {
        line += std::to_string(a) + " ";
        c = c.resume();
    }
    say(line);
}

void continuation_resume_with()
{
    int value = 1;
    ctx::continuation c = ctx::callcc([&value](ctx::continuation &&main) {
        witness w("local");
        say(std::to_string(value));
        main = main.resume();
        say(std::to_string(value));
        return std::move(main);
    });
    c = c.resume_with([&value](ctx::continuation &&main) {
        value = 2;
        say("on top");
        return std::move(main);
    });
    CHECK(!c);
}

void continuation_is_unwound()
{
    ctx::continuation c = ctx::callcc([](ctx::continuation &&main) {
        witness w("local");
        main = main.resume();
        say("never said");
        return std::move(main);
    });
    say("destroying");
}

/* ---- coroutine ---- */

void coroutine_pull()
{
    coro::coroutine<int>::pull_type source([](coro::coroutine<int>::push_type &sink) {
        witness w("source");
        for (int i = 1; i <= 5; i++)
            sink(i * i);
    });
    std::string line;
    for (int i : source)
        line += std::to_string(i) + " ";
    say(line);
}

void coroutine_push()
{
    coro::coroutine<std::string>::push_type sink([](coro::coroutine<std::string>::pull_type &source) {
        witness w("sink");
        for (const std::string &s : source)
            say("got " + s);
    });
    sink("one");
    sink("two");
    say("closing");
}

void coroutine_exception()
{
    try {
        coro::coroutine<int>::pull_type source([](coro::coroutine<int>::push_type &sink) {
            witness w("source");
            sink(1);
            throw std::runtime_error("out of the coroutine");
        });
        say(std::to_string(source.get()));
        source();
        say("never said");
    } catch (const std::runtime_error &e) {
        say(std::string("caught ") + e.what());
    }
}

struct node {
    int value;
    std::unique_ptr<node> left, right;
};

std::unique_ptr<node> tree(int low, int high)
{
    if (low > high)
        return nullptr;
    int middle = (low + high) / 2;
    return std::unique_ptr<node>(new node{middle, tree(low, middle - 1), tree(middle + 1, high)});
}

void walk(const node *n, coro::coroutine<int>::push_type &sink)
{
    if (n == nullptr)
        return;
    walk(n->left.get(), sink);
    sink(n->value);
    walk(n->right.get(), sink);
}

void coroutine_walks_a_tree()
{
    auto root = tree(1, 1000);
    coro::coroutine<int>::pull_type source(coro::protected_fixedsize_stack(),
                                           [&root](coro::coroutine<int>::push_type &sink) { walk(root.get(), sink); });
    int expected = 0;
    for (int i : source)
        CHECK(i == ++expected);
    say(std::to_string(expected));
}

void coroutine_left_unfinished()
{
    coro::coroutine<int>::pull_type source([](coro::coroutine<int>::push_type &sink) {
        witness w("source");
        for (int i = 0;; i++)
            sink(i);
    });
    source();
    say(std::to_string(source.get()));
}

struct test {
    const char *name;
    void (*run)();
};

#define TEST(function)                                                                                                 \
    {                                                                                                                  \
#function, function                                                                                            \
    }

const test tests[] = {
    TEST(fiber_resume),
    TEST(fiber_resumes_a_fiber),
    TEST(fiber_ends_in_another),
    TEST(fiber_resume_with),
    TEST(fiber_resume_with_before_it_ran),
    TEST(fiber_throws_on_top),
    TEST(fiber_is_unwound),
    TEST(fibers_that_own_fibers),
    TEST(fiber_exception_by_pointer),
    TEST(fiber_floating_point),
    TEST(fiber_stack_allocators),
    TEST(fiber_preallocated),
    TEST(thousands_of_fibers),
    TEST(continuation_resume),
    TEST(continuation_resume_with),
    TEST(continuation_is_unwound),
    TEST(coroutine_pull),
    TEST(coroutine_push),
    TEST(coroutine_exception),
    TEST(coroutine_walks_a_tree),
    TEST(coroutine_left_unfinished),
};

} // namespace

int main()
{
    int passed = 0;
    for (const test &t : tests) {
        std::printf("%s\n", t.name);
        t.run();
        passed++;
        (void)std::fflush(stdout);
    }
    std::printf("%d passed, 0 failed\n", passed);
    return EXIT_SUCCESS;
}

#else

int main()
{
    std::puts("SKIP: Boost's headers are not installed");
    return 77;
}

#endif
