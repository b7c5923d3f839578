// A library that waits as those of C++ do.

#include <chrono>
#include <condition_variable>
#include <mutex>

static std::mutex guard;
static std::condition_variable changed;
static int value = 0;

// Returns when the value is set, 0, or after so many milliseconds, 1.
extern "C" int waiting_for(int wanted, int milliseconds) {
    std::unique_lock<std::mutex> lock(guard);
    auto is_set = [&] { return value == wanted; };
    if (milliseconds < 0) {
        changed.wait(lock, is_set);
        return 0;
    }
    return !changed.wait_for(lock, std::chrono::milliseconds(milliseconds), is_set);
}

extern "C" void waiting_set(int wanted) {
    std::lock_guard<std::mutex> lock(guard);
    value = wanted;
    changed.notify_all();
}
