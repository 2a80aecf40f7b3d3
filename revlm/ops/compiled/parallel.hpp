// Runs independent tasks on several threads.
#pragma once

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

// Runs work(thread, task) for every task; an idle thread takes the next one. A task must not depend on the thread that
// runs it. A task's exception is rethrown here, after all threads have ended.
template <class Work>
void parallel(long threads, long tasks, const Work& work) {
    std::atomic<long> next{0};
    std::exception_ptr failure;
    std::mutex failing;
    const auto worker = [&](long thread) {
        try {
            for (long task; (task = next++) < tasks;) work(thread, task);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(failing);
            failure = std::current_exception();
            next = tasks;
        }
    };
    std::vector<std::thread> others;
    others.reserve(std::max(threads, 1L));
    try {
        for (long thread = 1; thread < std::min(threads, tasks); ++thread) others.emplace_back(worker, thread);
    } catch (const std::exception&) {
        // The system has no more threads, or no memory for them: the running ones do all tasks.
    }
    worker(0);
    for (std::thread& other : others) other.join();
    if (failure) std::rethrow_exception(failure);
}
