// The works of benches/peers in Go, on one processor. `go WORK COUNT` prints nanoseconds for each, and for tasks that sleep
// processor time and bytes of memory for each.
package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

func main() {
	runtime.GOMAXPROCS(1)
	n, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	switch os.Args[1] {
	case "yield-2":
		timed(n, func(n int) { yields(2, n) })
	case "yield-1000":
		timed(n, func(n int) { yields(1000, n) })
	case "spawn-1":
		timed(n, spawnOneByOne)
	case "spawn-1000":
		timed(n, spawnInBatches)
	case "channel":
		timed(n, channel)
	case "mutex":
		timed(n, mutex)
	case "sleep-100000", "sleep-1000000":
		asleep(n)
	default:
		os.Exit(2)
	}
}

func timed(n int, f func(int)) {
	f(n/10 + 1)
	begin := time.Now()
	f(n)
	fmt.Println(float64(time.Since(begin).Nanoseconds()) / float64(n))
}

func yields(tasks, n int) {
	var all sync.WaitGroup
	all.Add(tasks)
	for i := 0; i < tasks; i++ {
		go func() {
			for i := 0; i < n/tasks; i++ {
				runtime.Gosched()
			}
			all.Done()
		}()
	}
	all.Wait()
}

// The idiom for a result to wait for: a channel with room for it.
func spawn(i int) chan int {
	result := make(chan int, 1)
	go func() { result <- i }()
	return result
}

func spawnOneByOne(n int) {
	for i := 0; i < n; i++ {
		<-spawn(i)
	}
}

func spawnInBatches(n int) {
	for ; n > 0; n -= 1000 {
		var results [1000]chan int
		for i := range results {
			results[i] = spawn(i)
		}
		for _, result := range results {
			<-result
		}
	}
}

func channel(n int) {
	ping, pong := make(chan int, 1), make(chan int, 1)
	go func() {
		for i := range ping {
			pong <- i
		}
		close(pong)
	}()
	for i := 0; i < n/2; i++ {
		ping <- i
		<-pong
	}
	close(ping)
	<-pong
}

func mutex(n int) {
	var lock sync.Mutex
	var all sync.WaitGroup
	all.Add(2)
	count := 0
	for i := 0; i < 2; i++ {
		go func() {
			for i := 0; i < n/2; i++ {
				lock.Lock()
				count++
				runtime.Gosched()
				lock.Unlock()
			}
			all.Done()
		}()
	}
	all.Wait()
}

func asleep(n int) {
	memory, processor := residentBytes(), processorSeconds()
	until := time.Now().Add(500*time.Millisecond + time.Duration(n)*8*time.Microsecond)
	var all sync.WaitGroup
	all.Add(n)
	for i := 0; i < n; i++ {
		go func() {
			time.Sleep(time.Until(until))
			all.Done()
		}()
	}
	time.Sleep(time.Until(until.Add(-200 * time.Millisecond)))
	memory = residentBytes() - memory
	all.Wait()
	processor = processorSeconds() - processor
	fmt.Println(processor*1e9/float64(n), memory/float64(n))
}

func residentBytes() float64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		panic(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(statm))[1])
	if err != nil {
		panic(err)
	}
	return float64(pages) * 4096
}

func processorSeconds() float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	seconds := func(t syscall.Timeval) float64 { return float64(t.Sec) + float64(t.Usec)*1e-6 }
	return seconds(usage.Utime) + seconds(usage.Stime)
}
