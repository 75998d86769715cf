// The controller's request buffers: one arrival-ordered list a bank, and the space that is left.
#pragma once

#include <vector>

#include "dram.hpp"

namespace archwright::dram {

using Id = std::int32_t;
constexpr Id none = -1;

// Doubly linked lists over request numbers, made once; nothing is allocated a request.
struct Links {
    explicit Links(std::int64_t count)
        : next(static_cast<std::size_t>(count)), previous(static_cast<std::size_t>(count)) {}
    std::vector<Id> next, previous;
};

struct Bank {
    // The queue: first, last and number of requests; how many hit the open row; the one to serve.
    Id head = none, tail = none, chosen = none;
    std::int32_t size = 0, row_hits = 0;
    std::uint32_t open_row = 0;
    bool open = false;
    std::uint8_t cost = 0;  // 0 row hit, 1 row miss, 2 row conflict, of the next column command
    Command command = Command::act;
    std::size_t group = 0;
    Clock activated = 0;
    // Earliest clock of each kind, from this bank's own history.
    Clock act = 0, column = 0, read_auto = 0, pre = 0;
};

// Counts what is buffered and says whether one more request may enter.
class Space {
  public:
    Space(Buffer kind, std::int32_t size) : kind_(kind), size_(size) {}

    bool free(const std::vector<Bank> &banks) const {
        switch (kind_) {
            case Buffer::bankwise: return banks[last_].size < size_;
            case Buffer::read_write: return held_[0] < size_ && held_[1] < size_;
            case Buffer::shared: return held_[0] + held_[1] < size_;
        }
        return false;
    }

    void enter(std::uint8_t bank, bool write) {
        last_ = bank;
        ++held_[write];
    }

    void leave(bool write) { --held_[write]; }

    bool empty() const { return held_[0] + held_[1] == 0; }

  private:
    Buffer kind_;
    std::int32_t size_;
    std::size_t last_ = 0;  // bank of the last request that entered
    std::int32_t held_[2] = {0, 0};
};

}  // namespace archwright::dram
