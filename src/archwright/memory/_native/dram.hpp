// A DDR3/DDR4 controller and device, exact to the clock: types and entry point.
#pragma once

#include <cstdint>
#include <vector>

namespace archwright::dram {

using Clock = std::int64_t;

enum class PagePolicy : std::uint8_t { open, open_adaptive, closed, closed_adaptive };
enum class Scheduler : std::uint8_t { fifo, fr_fcfs, fr_fcfs_grp };
enum class Buffer : std::uint8_t { bankwise, read_write, shared };
enum class Order : std::uint8_t { fifo, reorder };
enum class Arbiter : std::uint8_t { simple, fifo, reorder };

enum class Command : std::uint8_t { act, pre, rd, wr, rda, wra, prea, ref };
constexpr int command_kinds = 8;

struct Controller {
    PagePolicy page_policy;
    Scheduler scheduler;
    Buffer scheduler_buffer;
    std::int32_t request_buffer_size;
    Order response_queue;
    bool refresh;
    std::int32_t refresh_max_postponed;
    std::int32_t refresh_max_pulled_in;
    Arbiter arbiter;
    std::int32_t max_active_transactions;
};

// Distances in clocks of the memory; _s between bank groups, _l within one.
struct Timing {
    int banks, groups;
    Clock burst;
    Clock rl, wl;
    Clock rcd, ras, rc, rp, rtp, faw, refi, rfc;
    Clock rrd_s, rrd_l, ccd_s, ccd_l;
    Clock read_to_write;
    Clock write_to_read_s, write_to_read_l;
    Clock write_to_pre;
    Clock read_done, write_done;  // from a last command to the end of the energy window
};

// Requests in the order offered. `offered` is the clock at which the trace wants each.
struct Requests {
    std::int64_t count;
    const std::int64_t *offered;
    const std::uint8_t *write;
    const std::uint8_t *bank;
    const std::uint32_t *row;
    const std::uint64_t *address;
    std::int64_t trace_period_ps, memory_period_ps;
};

struct Issued {
    Clock clock;
    Command command;
    std::uint8_t bank;
    std::uint32_t row;
    std::int64_t request;  // -1 for commands of the refresh
};

struct Outcome {
    Clock cycles = 0;                            // until the last response
    std::int64_t counts[command_kinds] = {};     // commands issued
    std::int64_t precharges = 0;                 // banks precharged, by any command
    std::int64_t hits = 0, misses = 0, conflicts = 0;
    Clock active_clocks = 0, precharged_clocks = 0;  // background of the energy window
    std::vector<std::int32_t> latency;           // clocks from arrival to response, a request
    std::vector<Issued> log;
};

Outcome simulate(const Requests &requests, const Timing &timing, const Controller &controller,
                 bool record);

}  // namespace archwright::dram
