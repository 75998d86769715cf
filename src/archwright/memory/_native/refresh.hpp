// All-bank refresh: each interval one refresh falls due; it may be postponed or pulled in.
#pragma once

#include "dram.hpp"
#include "frontend.hpp"

namespace archwright::dram {

class Refresh {
  public:
    Refresh(const Controller &controller, const Timing &timing)
        : interval_(timing.refi),
          most_(controller.refresh_max_postponed),
          least_(-controller.refresh_max_pulled_in),
          due_(controller.refresh ? timing.refi : never) {}

    bool due(Clock t) const { return t >= due_; }
    bool blocked() const { return blocked_; }
    bool wanted() const { return wanted_; }
    Clock wake() const { return due_; }

    // Decide whether a refresh is wanted now. `idle`: no request is buffered.
    void decide(Clock t, bool idle) {
        wanted_ = false;
        if (t >= due_ + interval_) {
            due_ += interval_;
            pulling_ = false;
        }
        if (pulling_) {
            if (idle) {
                wanted_ = true;
            } else {
                pulling_ = false;
                due_ += interval_;
            }
        } else if (debt_ == most_) {
            blocked_ = wanted_ = true;
        } else if (idle) {
            wanted_ = true;
        } else {
            ++debt_;
            due_ += interval_;
        }
    }

    void issued() {
        blocked_ = wanted_ = false;
        if (pulling_) {
            --debt_;
        } else {
            pulling_ = true;
        }
        if (debt_ == least_) {
            pulling_ = false;
            due_ += interval_;
        }
    }

  private:
    Clock interval_;
    std::int64_t most_, least_;
    std::int64_t debt_ = 0;  // refreshes postponed; below zero: pulled in
    Clock due_;
    bool pulling_ = false, blocked_ = false, wanted_ = false;
};

}  // namespace archwright::dram
