// The controller: which command goes out at which clock.
//
// Time jumps from event to event. Within a clock the order is: (1) what was known before the clock
// (a command that falls due, a request announced a clock earlier); (2) a request that the trace
// offers in this clock; (3) one that waited for a response of this clock. Each pass may issue a
// command if the command bus is free. (2) comes before (1) where its event was set earlier.

#include "dram.hpp"

#include <bit>
#include <stdexcept>
#include <utility>

#include "background.hpp"
#include "frontend.hpp"
#include "queues.hpp"
#include "refresh.hpp"

namespace archwright::dram {
namespace {

class Engine {
  public:
    Engine(const Requests &requests, const Timing &timing, const Controller &controller,
           bool record)
        : requests_(requests),
          timing_(timing),
          controller_(controller),
          record_(record),
          links_(requests.count),
          banks_(static_cast<std::size_t>(timing.banks)),
          next_(banks_.size()),
          groups_(static_cast<std::size_t>(timing.groups)),
          shared_(4 * groups_),
          space_(controller.scheduler_buffer, controller.request_buffer_size),
          frontend_(requests, controller),
          refresh_(controller, timing),
          background_(timing),
          row_is_right_(controller.page_policy == PagePolicy::closed) {
        for (std::size_t b = 0; b < banks_.size(); ++b)
            banks_[b].group = b / (banks_.size() / groups_);
        if (record) out_.log.reserve(static_cast<std::size_t>(3 * requests.count));
    }

    Outcome run() {
        Clock t = -1;
        for (;;) {
            const Clock door = frontend_.door() > t ? frontend_.door() : never;
            const Clock arrival = frontend_.next();
            const Clock command = command_clock();
            t = std::min(std::min(command, door), arrival);
            if (served_ == requests_.count && t > frontend_.end()) break;
            if (t >= never) throw std::runtime_error("the memory simulation is stuck");
            if (planned_ < t) plan(planned_, command);
            if (t != arrival) {
                act(t);
            } else if (t == command && frontend_.arrives_first(t, planned_since_)) {
                frontend_.arrive(t);
                act(t);
                if (frontend_.release(t)) act(t);
            } else {
                if (t == command || t == door) act(t);
                if (frontend_.arrive(t)) act(t);
                if (frontend_.release(t)) act(t);
            }
            if (planned_ <= t || planned_ > command_clock()) plan(t, command_clock());
        }
        finish();
        return std::move(out_);
    }

  private:
    // What the banks share: the earliest clock of each kind of command, a group after the other.
    enum Kind : std::size_t { activation, read, write, unshared };

    // The next command of a bank, small and in one place for the search over all banks.
    struct Next {
        Clock local = 0;         // earliest, as far as the bank alone says
        Id age = none;           // its request
        std::uint32_t slot = 0;  // its place in `shared_`
    };

    Bank &bank(std::uint8_t b) { return banks_[b]; }
    bool is_write(Id id) const { return requests_.write[id] != 0; }
    std::uint32_t row(Id id) const { return requests_.row[id]; }

    // The clock of the next command or refresh decision.
    Clock command_clock() const {
        Clock clock = refresh_.wanted() ? refresh_ready_ : refresh_.wake();
        return best_ == none ? clock : std::min(clock, best_clock_);
    }

    // At `now` the controller asks to be woken at `clock`. Of two things that happen at the same
    // clock the one asked for first comes first, so it matters when. An earlier wake-up stays set
    // even if its reason is gone; the controller then wakes for nothing and asks again.
    void plan(Clock now, Clock clock) {
        planned_since_ = now;
        planned_ = clock;
    }

    // One pass of the controller within clock t.
    void act(Clock t) {
        admit(t);
        consider_refresh(t);
        const bool bus_is_free = bus_free_ <= t;
        if (bus_is_free && refresh_.wanted() && refresh_ready_ <= t) {
            issue_refresh(t);
        } else if (bus_is_free && best_ != none && best_clock_ <= t) {
            issue(t);  // in the pass that begins a forced refresh too
        } else {
            if (refresh_.blocked()) best_ = none;
            return;
        }
        bus_free_ = t + 1;
        choose_best(t + 1);
        consider_refresh(t);
    }

    void admit(Clock t) {
        if (!frontend_.waiting(t) || !space_.free(banks_)) return;
        const auto id = static_cast<Id>(frontend_.at_door());
        frontend_.taken(t);
        const std::uint8_t b = requests_.bank[id];
        space_.enter(b, is_write(id));
        Bank &k = bank(b);
        links_.previous[static_cast<std::size_t>(id)] = k.tail;
        links_.next[static_cast<std::size_t>(id)] = none;
        (k.size++ ? links_.next[static_cast<std::size_t>(k.tail)] : k.head) = id;
        k.tail = id;
        pending_ |= std::uint64_t{1} << b;
        if (k.open && row(id) == k.open_row) ++k.row_hits;

        const Command before = k.command;
        const Id chosen = k.chosen;
        if (k.size == 1 || controller_.scheduler == Scheduler::fr_fcfs_grp) {
            k.chosen = choose(k);
        } else if (controller_.scheduler == Scheduler::fr_fcfs && k.row_hits == 1 && k.open &&
                   row(id) == k.open_row) {
            k.chosen = id;
        }
        prepare(b);
        if (refresh_.blocked() || (k.chosen == chosen && k.command == before && k.size > 1)) return;
        if (best_ == b) {
            choose_best(std::max(t, bus_free_));
        } else {
            offer(b, std::max(t, bus_free_));
        }
    }

    // The request of a bank that is served next.
    Id choose(const Bank &k) const {
        if (controller_.scheduler == Scheduler::fifo || !k.open || k.row_hits == 0) return k.head;
        Id first = k.head;
        while (row(first) != k.open_row) first = after(first);
        if (controller_.scheduler == Scheduler::fr_fcfs) return first;
        // Among row hits prefer the direction of the last column command, unless an older hit
        // has the same address.
        std::int32_t left = k.row_hits;
        for (Id id = first; left > 0; id = after(id)) {
            if (row(id) != k.open_row) continue;
            --left;
            if (is_write(id) != last_write_) continue;
            bool hazard = false;
            for (Id older = first; older != id && !hazard; older = after(older))
                hazard = row(older) == k.open_row &&
                         requests_.address[older] == requests_.address[id];
            if (!hazard) return id;
        }
        return first;
    }

    Id after(Id id) const { return links_.next[static_cast<std::size_t>(id)]; }

    // The next command of a bank that has requests.
    void prepare(std::size_t b) {
        Bank &k = banks_[b];
        Kind kind = unshared;
        Clock local = k.pre;
        if (!k.open) {
            k.command = Command::act;
            kind = activation;
            local = k.act;
        } else if (row_is_right_ || row(k.chosen) == k.open_row) {
            const bool writes = is_write(k.chosen);
            const bool automatic = closes(k);
            k.command = writes ? (automatic ? Command::wra : Command::wr)
                               : (automatic ? Command::rda : Command::rd);
            kind = writes ? write : read;
            local = k.command == Command::rda ? std::max(k.column, k.read_auto) : k.column;
        } else {
            k.command = Command::pre;
        }
        next_[b] = {local, k.chosen, static_cast<std::uint32_t>(kind * groups_ + k.group)};
    }

    void prepare_all() {
        for (std::uint64_t left = pending_; left; left &= left - 1)
            prepare(static_cast<std::size_t>(std::countr_zero(left)));
    }

    // A command of `group` at t puts the next of a kind off: in its own group and in the others.
    void put_off(Kind kind, std::size_t group, Clock within, Clock between) {
        for (std::size_t g = 0; g < groups_; ++g) {
            Clock &earliest = shared_[kind * groups_ + g];
            earliest = std::max(earliest, g == group ? within : between);
        }
    }

    // Whether the page policy closes the row with this column command.
    bool closes(const Bank &k) const {
        switch (controller_.page_policy) {
            case PagePolicy::open: return false;
            case PagePolicy::closed: return true;
            case PagePolicy::open_adaptive: return k.size >= 2 && !further_hit(k);
            case PagePolicy::closed_adaptive: return !further_hit(k);
        }
        return false;
    }

    bool further_hit(const Bank &k) const {
        if (controller_.scheduler == Scheduler::fifo)
            return k.size >= 2 && row(after(k.head)) == k.open_row;
        return k.row_hits >= 2;
    }

    Clock ready(std::size_t b) const {
        return std::max(next_[b].local, shared_[next_[b].slot]);
    }

    // The command of one bank against the best so far.
    void offer(std::uint8_t b, Clock floor) {
        const Clock clock = std::max(ready(b), floor);
        if (best_ == none || clock < best_clock_ ||
            (clock == best_clock_ &&
             next_[b].age < next_[static_cast<std::size_t>(best_)].age)) {
            best_ = b;
            best_clock_ = clock;
        }
    }

    // The command that is ready first; among equals that of the oldest request. Both are compared
    // as one number: the wait, then the age.
    void choose_best(Clock floor) {
        best_ = none;
        best_clock_ = never;
        if (refresh_.blocked() || pending_ == 0) return;
        std::uint64_t best = ~std::uint64_t{0};
        for (std::uint64_t left = pending_; left; left &= left - 1) {
            const auto b = static_cast<std::size_t>(std::countr_zero(left));
            const auto wait = static_cast<std::uint64_t>(std::max(ready(b), floor) - floor);
            best = std::min(best, wait << 32 | static_cast<std::uint32_t>(next_[b].age));
        }
        best_ = requests_.bank[best & 0xffffffff];
        best_clock_ = floor + static_cast<Clock>(best >> 32);
    }

    void consider_refresh(Clock t) {
        if (!refresh_.due(t)) return;
        refresh_.decide(t, space_.empty());
        refresh_ready_ = std::max({t, bus_free_, open_banks_ ? prea_ : ref_});
    }

    void record(Clock t, Command command, std::uint8_t b, std::uint32_t r, std::int64_t id) {
        ++out_.counts[static_cast<int>(command)];
        if (record_) out_.log.push_back({t, command, b, r, id});
    }

    void issue_refresh(Clock t) {
        if (open_banks_) {
            record(t, Command::prea, 0, 0, none);
            background_.precharge_all(t, open_banks_);
            out_.precharges += open_banks_;
            open_banks_ = 0;
            for (Bank &k : banks_) close(k);
            prepare_all();
            put_off(activation, 0, t + timing_.rp, t + timing_.rp);
            ref_ = std::max(ref_, t + timing_.rp);
            return;
        }
        record(t, Command::ref, 0, 0, none);
        background_.refresh(t);
        put_off(activation, 0, t + timing_.rfc, t + timing_.rfc);
        ref_ = std::max(ref_, t + timing_.rfc);
        refresh_.issued();
    }

    static void close(Bank &k) {
        k.open = false;
        k.row_hits = 0;
        k.chosen = k.head;
    }

    void issue(Clock t) {
        const auto b = static_cast<std::uint8_t>(best_);
        Bank &k = bank(b);
        record(t, k.command, b, row(k.chosen), k.chosen);
        switch (k.command) {
            case Command::act: activate(k, t); break;
            case Command::pre:
                close(k);
                --open_banks_;
                ++out_.precharges;
                k.cost = 2;
                k.act = std::max(k.act, t + timing_.rp);
                ref_ = std::max(ref_, t + timing_.rp);
                background_.precharge(t);
                break;
            default: column(k, b, t);
        }
        if (k.size) prepare(b);
    }

    void activate(Bank &k, Clock t) {
        k.open = true;
        ++open_banks_;
        k.open_row = row(k.chosen);
        if (k.cost == 0) k.cost = 1;
        k.activated = t;
        k.act = t + timing_.rc;
        k.column = t + timing_.rcd;
        k.pre = t + timing_.ras;
        prea_ = std::max(prea_, t + timing_.ras);
        ref_ = std::max(ref_, t + timing_.rc);
        activates_[oldest_] = t;
        oldest_ = (oldest_ + 1) % 4;
        const Clock fifth = activates_[oldest_] + timing_.faw;
        put_off(activation, k.group, std::max(t + timing_.rrd_l, fifth),
                std::max(t + timing_.rrd_s, fifth));
        background_.activate(t);
        if (controller_.scheduler == Scheduler::fifo) return;
        k.row_hits = 0;
        for (Id id = k.head; id != none; id = after(id)) k.row_hits += row(id) == k.open_row;
        k.chosen = choose(k);
    }

    void column(Bank &k, std::uint8_t b, Clock t) {
        const Id id = k.chosen;
        const bool writes = is_write(id);
        const bool automatic = k.command == Command::rda || k.command == Command::wra;
        put_off(writes ? write : read, k.group, t + timing_.ccd_l, t + timing_.ccd_s);
        if (writes) {
            put_off(read, k.group, t + timing_.write_to_read_l, t + timing_.write_to_read_s);
            k.read_auto = t + timing_.write_to_pre - timing_.rtp;
        } else {
            put_off(write, k.group, t + timing_.read_to_write, t + timing_.read_to_write);
        }
        const Clock to_pre = t + (writes ? timing_.write_to_pre : timing_.rtp);
        prea_ = std::max(prea_, to_pre);
        background_.column(t, writes, automatic, k.activated);
        ++(k.cost == 0 ? out_.hits : k.cost == 1 ? out_.misses : out_.conflicts);
        k.cost = 0;
        unlink(k, b, id);
        space_.leave(writes);
        ++served_;
        if (automatic) {
            close(k);
            --open_banks_;
            ++out_.precharges;
            k.act = std::max(k.act, to_pre + timing_.rp);
            ref_ = std::max(ref_, to_pre + timing_.rp);
        } else {
            k.pre = std::max(k.pre, to_pre);
        }
        turn(writes);
        if (k.size) k.chosen = choose(k);
        frontend_.respond(id, t, t + (writes ? timing_.wl : timing_.rl) + timing_.burst);
        best_ = none;  // chosen anew after this command
        admit_freed(t);
    }

    // A column command frees a place, which a waiting request takes in the same pass.
    void admit_freed(Clock t) {
        if (!frontend_.waiting(t)) return;
        bus_free_ = t + 1;
        admit(t);
    }

    void unlink(Bank &k, std::uint8_t b, Id id) {
        const Id before = links_.previous[static_cast<std::size_t>(id)];
        const Id behind = after(id);
        (before == none ? k.head : links_.next[static_cast<std::size_t>(before)]) = behind;
        (behind == none ? k.tail : links_.previous[static_cast<std::size_t>(behind)]) = before;
        if (--k.size == 0) pending_ &= ~(std::uint64_t{1} << b);
        if (controller_.scheduler != Scheduler::fifo) --k.row_hits;
    }

    // A change of direction may change what the grouping scheduler prefers in other banks.
    void turn(bool writes) {
        if (writes == last_write_) return;
        last_write_ = writes;
        if (controller_.scheduler != Scheduler::fr_fcfs_grp) return;
        for (std::uint64_t left = pending_; left; left &= left - 1) {
            const auto b = static_cast<std::size_t>(std::countr_zero(left));
            banks_[b].chosen = choose(banks_[b]);
            prepare(b);
        }
    }

    void finish() {
        background_.finish(out_);
        out_.cycles = frontend_.end();
        const auto n = static_cast<std::size_t>(requests_.count);
        out_.latency.resize(n);
        for (std::size_t i = 0; i < n; ++i)
            out_.latency[i] =
                static_cast<std::int32_t>(frontend_.answered[i] - frontend_.arrived[i]);
    }

    const Requests &requests_;
    const Timing &timing_;
    const Controller &controller_;
    bool record_;
    Links links_;
    std::vector<Bank> banks_;
    std::vector<Next> next_;
    std::size_t groups_;
    std::vector<Clock> shared_;
    Space space_;
    Frontend frontend_;
    Refresh refresh_;
    Background background_;
    bool row_is_right_;  // an open row is always the one wanted
    Outcome out_;

    std::uint64_t pending_ = 0;  // banks with requests
    std::int32_t best_ = none;
    Clock best_clock_ = never;
    Clock bus_free_ = 0;
    Clock refresh_ready_ = never;
    Clock prea_ = 0, ref_ = 0;  // earliest commands to all banks
    Clock activates_[4] = {-never, -never, -never, -never};
    std::size_t oldest_ = 0;
    std::int32_t open_banks_ = 0;
    std::int64_t served_ = 0;
    bool last_write_ = false;
    Clock planned_ = -1, planned_since_ = -1;
};

}  // namespace

Outcome simulate(const Requests &requests, const Timing &timing, const Controller &controller,
                 bool record) {
    return Engine(requests, timing, controller, record).run();
}

}  // namespace archwright::dram
