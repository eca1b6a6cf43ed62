// The works of benches/peers on Boost.Context and Boost.Fiber. `boost WORK COUNT` prints nanoseconds for each, and for tasks
// that sleep processor time and bytes of memory for each.
#include <boost/context/fiber.hpp>
#include <boost/fiber/all.hpp>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

namespace context = boost::context;
namespace fibers = boost::fibers;
using Clock = std::chrono::steady_clock;

// Stacks are used again, as by the others. There are no guards; protected_fixedsize_stack, which has them, uses none again.
static fibers::pooled_fixedsize_stack stacks(64 * 1024);

template <class F> static fibers::fiber spawn(F f)
{
    return fibers::fiber(std::allocator_arg, stacks, f);
}

static void timed(long n, const std::function<void(long)> &f)
{
    f(n / 10 + 1);
    auto begin = Clock::now();
    f(n);
    std::chrono::duration<double, std::nano> took = Clock::now() - begin;
    std::printf("%f\n", took.count() / n);
}

static void switches(long n)
{
    context::fiber other([](context::fiber &&back) {
        for (;;)
            back = std::move(back).resume();
        return std::move(back);
    });
    for (long i = 0; i < n / 2; i++)
        other = std::move(other).resume();
}

static void yields(long tasks, long n)
{
    std::vector<fibers::fiber> all;
    for (long i = 0; i < tasks; i++)
        all.push_back(spawn([=] {
            for (long i = 0; i < n / tasks; i++)
                boost::this_fiber::yield();
        }));
    for (auto &fiber : all)
        fiber.join();
}

// As the others: a fiber with a result, which is a future here.
static fibers::future<long> result_of(long i)
{
    return fibers::async(fibers::launch::post, std::allocator_arg, stacks, [i] { return i; });
}

static void spawn_one_by_one(long n)
{
    for (long i = 0; i < n; i++)
        result_of(i).get();
}

static void spawn_in_batches(long n)
{
    for (; n > 0; n -= 1000) {
        std::vector<fibers::future<long>> all;
        for (long i = 0; i < 1000; i++)
            all.push_back(result_of(i));
        for (auto &result : all)
            result.get();
    }
}

static void channel(long n)
{
    fibers::buffered_channel<long> ping(2), pong(2);
    auto other = spawn([&] {
        for (long i : ping)
            pong.push(i);
    });
    for (long i = 0; i < n / 2; i++) {
        ping.push(i);
        pong.value_pop();
    }
    ping.close();
    other.join();
}

static void mutex(long n)
{
    fibers::mutex lock;
    long count = 0;
    auto take = [&] {
        for (long i = 0; i < n / 2; i++) {
            std::unique_lock<fibers::mutex> guard(lock);
            count++;
            boost::this_fiber::yield();
        }
    };
    auto one = spawn(take), two = spawn(take);
    one.join();
    two.join();
}

static double resident_bytes()
{
    long total, pages;
    FILE *statm = std::fopen("/proc/self/statm", "r");
    if (!statm || std::fscanf(statm, "%ld %ld", &total, &pages) != 2)
        std::abort();
    std::fclose(statm);
    return pages * 4096.0;
}

static double processor_seconds()
{
    timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static void asleep(long n)
{
    double memory = resident_bytes(), processor = processor_seconds();
    auto until = Clock::now() + std::chrono::milliseconds(500) + std::chrono::microseconds(8) * n;
    std::vector<fibers::fiber> all;
    for (long i = 0; i < n; i++)
        all.push_back(spawn([=] { boost::this_fiber::sleep_until(until); }));
    boost::this_fiber::sleep_until(until - std::chrono::milliseconds(200));
    memory = resident_bytes() - memory;
    for (auto &fiber : all)
        fiber.join();
    std::printf("%f %f\n", (processor_seconds() - processor) * 1e9 / n, memory / n);
}

int main(int, char **argv)
{
    std::string work = argv[1];
    long n = std::atol(argv[2]);
    if (work == "switch")
        timed(n, switches);
    else if (work == "yield-2")
        timed(n, [](long n) { yields(2, n); });
    else if (work == "yield-1000")
        timed(n, [](long n) { yields(1000, n); });
    else if (work == "spawn-1")
        timed(n, spawn_one_by_one);
    else if (work == "spawn-1000")
        timed(n, spawn_in_batches);
    else if (work == "channel")
        timed(n, channel);
    else if (work == "mutex")
        timed(n, mutex);
    else if (work == "sleep-100000" || work == "sleep-1000000")
        asleep(n);
    else
        return 2;
}
