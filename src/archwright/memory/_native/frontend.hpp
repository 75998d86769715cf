// Between the trace and the controller: the trace player, the arbiter and the response path.
#pragma once

#include <algorithm>
#include <limits>
#include <vector>

#include "dram.hpp"

namespace archwright::dram {

constexpr Clock never = std::numeric_limits<Clock>::max() / 4;

// Requests reach the controller in trace order, so every stage is a number of requests passed.
class Frontend {
  public:
    Frontend(const Requests &requests, const Controller &controller)
        : requests_(requests),
          limited_(controller.arbiter != Arbiter::simple),
          limit_(controller.max_active_transactions),
          equal_(requests.trace_period_ps == requests.memory_period_ps),
          controller_order_(controller.response_queue),
          arbiter_order_(controller.arbiter == Arbiter::reorder ? Order::reorder : Order::fifo) {
        const auto n = static_cast<std::size_t>(requests.count);
        arrived.resize(n);
        received_.reserve(n);
        sent_clocks_.reserve(n);
        known_.reserve(n);
        if (controller_order_ == Order::reorder) data_end_.assign(n, -1);
        if (arbiter_order_ == Order::reorder) sent_.assign(n, -1);
        answered.resize(n);
        arrival_ = requests.offered[0];
    }

    // The request at the controller's door, and the clock from which it may enter.
    bool waiting(Clock t) const { return door_ <= t; }
    Clock door() const { return door_; }
    std::int64_t at_door() const { return entered_; }

    // When the arbiter next has something to do: a request arrives, or a response lets one go on.
    Clock next() const { return std::min(arrival_, held_ ? next_response() : never); }

    // The trace offers a request. True where it reaches the controller at once.
    bool arrive(Clock t) {
        if (arrival_ != t) return false;
        active_at_ = t;
        arrived[index(offered_)] = t;
        ++offered_;
        arrival_ = never;
        if (!limited_) {
            door_ = t;
            return true;
        }
        while (returned_ < count(received_) && received_[index(returned_)] < t) {
            ++returned_;
            --active_;
        }
        if (active_ >= limit_) {
            held_ = true;
            return false;
        }
        ++active_;
        if (offered_ < requests_.count) arrival_ = following(t);
        return pass(t);
    }

    // A response frees the place that a held request waits for. True as for `arrive`.
    bool release(Clock t) {
        if (!held_ || next_response() != t) return false;
        active_at_ = t;
        ++returned_;
        held_ = false;
        if (offered_ < requests_.count) arrival_ = following(t);
        return pass(t);
    }

    // Whether the request that is offered at t reaches the controller before the controller acts
    // on what falls due at t. Of two events of one clock that which was set first comes first.
    // The arbiter sets its next one whenever it was active; the controller's wake-up for a command
    // was set at `command_set`, that for a response when its data end became known.
    bool arrives_first(Clock t, Clock command_set) {
        while (seen_ < count(received_) && received_[index(seen_)] < t) ++seen_;
        while (gone_ < count(sent_clocks_) && sent_clocks_[index(gone_)] < t) ++gone_;
        const Clock answer = gone_ ? sent_clocks_[index(gone_ - 1)] : -1;
        const Clock set = std::max({active_at_, seen_ ? received_[index(seen_ - 1)] : -1, answer});
        if (set >= command_set) return false;
        if (gone_ == count(sent_clocks_) || sent_clocks_[index(gone_)] != t) return true;
        const Clock known = known_[index(gone_)];
        if (known == never) return true;
        const Clock response_set = std::max(known, answer);
        if (set != response_set) return set < response_set;
        // Set within one clock: only after an answer does the arbiter of no limit come first.
        return !limited_ && known < answer;
    }

    // The controller took the request at the door.
    void taken(Clock t) {
        ++entered_;
        active_at_ = t;
        door_ = never;
        if (!limited_) {
            if (offered_ < requests_.count) arrival_ = following(t);
        } else {
            last_taken_ = t;
            if (passed_ > entered_) door_ = t + 1;
        }
    }

    // The data of a request end at a known clock: send its response, and those it held up.
    void respond(std::int64_t request, Clock now, Clock data_end) {
        if (controller_order_ == Order::fifo) {
            send(request, now, data_end);
            return;
        }
        data_end_[index(request)] = data_end;
        while (answering_ < requests_.count && data_end_[index(answering_)] >= 0) {
            send(answering_, now, data_end_[index(answering_)]);
            ++answering_;
        }
    }

    Clock end() const { return last_received_; }

    std::vector<Clock> arrived, answered;

  private:
    static std::size_t index(std::int64_t request) { return static_cast<std::size_t>(request); }

    // Clock at which the trace offers its next request, its last one being accepted at t.
    Clock following(Clock t) const {
        const Clock wanted = requests_.offered[offered_];
        if (equal_) return std::max(t + 1, wanted);
        const Clock now = t * requests_.memory_period_ps;
        const Clock tick = now + requests_.trace_period_ps - now % requests_.trace_period_ps;
        return std::max((tick + requests_.memory_period_ps - 1) / requests_.memory_period_ps,
                        wanted);
    }

    // Hand a request on to the controller; a clock carries one request at most.
    bool pass(Clock t) {
        ++passed_;
        if (door_ != never || passed_ > entered_ + 1) return false;
        door_ = last_taken_ == t ? t + 1 : t;
        return door_ == t;
    }

    static std::int64_t count(const std::vector<Clock> &clocks) {
        return static_cast<std::int64_t>(clocks.size());
    }

    Clock next_response() const {
        return returned_ < count(received_) ? received_[index(returned_)] : never;
    }

    void send(std::int64_t request, Clock now, Clock data_end) {
        // A response that had to wait for the one before needs no wake-up of its own.
        known_.push_back(data_end > last_sent_ ? now : never);
        last_sent_ = std::max(data_end, last_sent_ + 1);
        sent_clocks_.push_back(last_sent_);
        if (arbiter_order_ == Order::fifo) {
            receive(request, last_sent_);
            return;
        }
        sent_[index(request)] = last_sent_;
        while (receiving_ < requests_.count && sent_[index(receiving_)] >= 0) {
            receive(receiving_, sent_[index(receiving_)]);
            ++receiving_;
        }
    }

    void receive(std::int64_t request, Clock t) {
        last_received_ = std::max(t, last_received_ + 1);
        answered[index(request)] = last_received_;
        received_.push_back(last_received_);
    }

    const Requests &requests_;
    bool limited_;
    std::int64_t limit_;
    bool equal_;
    Order controller_order_, arbiter_order_;
    std::int64_t offered_ = 0, passed_ = 0, entered_ = 0;  // requests past each stage
    Clock arrival_ = never, door_ = never, last_taken_ = -1;
    bool held_ = false;  // a request waits for the limit of active transactions
    Clock active_at_ = -1;
    std::int64_t seen_ = 0, gone_ = 0;  // of the two below, those before the clock looked at
    std::int64_t active_ = 0, returned_ = 0;
    std::vector<Clock> sent_clocks_, received_;  // of responses: by the controller, by the trace
    std::vector<Clock> known_;  // of responses with a wake-up of their own: when known
    std::vector<Clock> data_end_, sent_;     // of the requests whose response is held up
    std::int64_t answering_ = 0, receiving_ = 0;
    Clock last_sent_ = -1, last_received_ = -1;
};

}  // namespace archwright::dram
