// Runs independent tasks on several threads.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

// Threads that are already running: those of PyTorch's OpenMP, through libgomp's entry point, which other OpenMP
// libraries have, too. Two pools would take the cores from each other. A pool survives no fork.
struct Team {
    using Start = void (*)(void (*member)(void*), void* argument, unsigned threads, unsigned flags);
    Start start = nullptr;
    pid_t process = 0;

    bool exists() const { return start && process == getpid(); }
};
static Team team;

// Runs work(thread, task) for every task; an idle thread takes the next one. A task must not depend on the thread that
// runs it. A task's exception is rethrown here, after all threads have ended.
template <class Work>
void parallel(long threads, long tasks, const Work& work) {
    std::atomic<long> next{0}, members{0};
    std::exception_ptr failure;
    std::mutex failing;
    const auto member = [&] {
        const long thread = members++;
        try {
            for (long task; (task = next++) < tasks;) work(thread, task);
        } catch (...) {
            const std::lock_guard<std::mutex> lock(failing);
            failure = std::current_exception();
            next = tasks;
        }
    };
    if (threads > 1 && tasks > 1 && team.exists()) {
        // Always as many as PyTorch uses: libgomp ends and starts threads where a team's size changes.
        team.start([](void* given) { (*static_cast<decltype(&member)>(given))(); },
                   const_cast<void*>(static_cast<const void*>(&member)), unsigned(threads), 0);
    } else {
        std::vector<std::thread> others;
        others.reserve(std::max(threads, 1L));
        try {
            for (long thread = 1; thread < std::min(threads, tasks); ++thread) others.emplace_back(member);
        } catch (const std::exception&) {
            // The system has no more threads, or no memory for them: the running ones do all tasks.
        }
        member();
        for (std::thread& other : others) other.join();
    }
    if (failure) std::rethrow_exception(failure);
}
