package main

import (
	"runtime"
	"sync"
)

const goroutines = 10

// yield lets ten goroutines take turns.
func yield(count int) {
	var done sync.WaitGroup
	done.Add(goroutines)
	for i := 0; i < goroutines; i++ {
		go func() {
			defer done.Done()
			for turn := 0; turn < count/goroutines; turn++ {
				runtime.Gosched()
			}
		}()
	}
	done.Wait()
}

// spawn starts an empty goroutine and waits for its end, one after the other. A goroutine cannot be waited for, so it says when it ends.
func spawn(count int) {
	ended := make(chan struct{})
	for i := 0; i < count; i++ {
		go func() { ended <- struct{}{} }()
		<-ended
	}
}

// hop sends items through a channel of one.
func hop(count int) {
	items, ended := make(chan int, 1), make(chan struct{})
	go func() {
		for item := 0; item < count; item++ {
			items <- item
		}
	}()
	go func() {
		for expected := 0; expected < count; expected++ {
			if <-items != expected {
				panic("an item out of order")
			}
		}
		ended <- struct{}{}
	}()
	<-ended
}
