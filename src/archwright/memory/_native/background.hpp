// How long at least one bank is open, and when the energy window ends.
#pragma once

#include <algorithm>

#include "dram.hpp"

namespace archwright::dram {

// Follows the open banks. An auto-precharge closes its bank later than its command, so what is
// kept is how many banks are open without a known end, and the latest known end.
class Background {
  public:
    explicit Background(const Timing &timing) : timing_(timing) {}

    void activate(Clock t) {
        if (open_ == 0 && t >= end_) {
            close_span();
            start_ = end_ = t;
            precharged_ += std::max<Clock>(0, t - idle_from_);
            running_ = true;
        }
        ++open_;
        last(t, timing_.rcd);
    }

    // The bank closes at `at`: the command's own clock, or later for an auto-precharge.
    void close(Clock at) {
        --open_;
        end_ = std::max(end_, at);
    }

    void precharge(Clock t) {
        close(t);
        last(t, timing_.rp);
    }

    void precharge_all(Clock t, int banks) {
        open_ -= banks;
        end_ = std::max(end_, t);
        last(t, timing_.rp);
    }

    void column(Clock t, bool write, bool automatic, Clock activated) {
        last(t, write ? timing_.write_done : timing_.read_done);
        if (!automatic) return;
        const Clock at = std::max(t + (write ? timing_.write_to_pre : timing_.rtp),
                                  activated + timing_.ras);
        close(at);
        last_auto_ = std::max(last_auto_, at);
    }

    void refresh(Clock t) {
        close_span();
        precharged_ += std::max<Clock>(0, t - idle_from_);
        active_ += timing_.rfc - timing_.rp;
        idle_from_ = t + timing_.rfc - timing_.rp;
        last(t, 0);
    }

    // Close the window at the completion of the last command.
    void finish(Outcome &outcome) {
        const Clock end = last_auto_ > last_ ? last_auto_ + timing_.rp - 1 : last_ + done_ - 1;
        if (open_ > 0) {
            active_ += std::max<Clock>(0, end - start_);
        } else {
            close_span();
            precharged_ += std::max<Clock>(0, end - idle_from_);
        }
        outcome.active_clocks = active_;
        outcome.precharged_clocks = precharged_;
    }

  private:
    void last(Clock t, Clock done) {
        last_ = t;
        done_ = done;
    }

    void close_span() {
        if (!running_) return;
        active_ += end_ - start_;
        idle_from_ = end_;
        running_ = false;
    }

    const Timing &timing_;
    int open_ = 0;
    bool running_ = false;
    Clock start_ = 0, end_ = 0, idle_from_ = 0;
    Clock active_ = 0, precharged_ = 0;
    Clock last_ = 0, done_ = 0, last_auto_ = -1;
};

}  // namespace archwright::dram
