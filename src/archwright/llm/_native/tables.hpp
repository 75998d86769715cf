// Tables of step costs, and what steps cost by them. The layout is that of compiled.py: three
// planes each (seconds, at full bandwidth, at peak rate), lines over whole numbers, grids uniform
// in the logarithm.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace archwright::steps {

inline constexpr int planes = 3;

struct Line {  // planes x size, from 0
    std::vector<double> values;
    std::size_t size = 0;
    double at(int plane, double x) const;
    bool holds(double x) const { return x >= 0.0 && x < static_cast<double>(size) - 1.0; }
};

struct Place {  // a number between two points of an axis
    std::size_t low = 0;
    double part = 0.0;
};

struct Grid {  // planes x rows x columns, point i at 2^(i / per_octave)
    std::vector<double> values;
    std::size_t rows = 0, columns = 0;
    double at(int plane, const Place &row, const Place &column) const;
};

enum class Fault : int { none = 0, count, length, order, tokens, sequences, batch, context };

struct Chunk {
    double query = 1.0, context = 1.0;
};

// The work of one step. Decoding sequences come as a list, or as their number and mean context.
struct Step {
    double batch = 0.0, mean_context = 1.0;
    const std::int64_t *decodes = nullptr;  // null: the mean stands for all
    const Chunk *chunks = nullptr;          // sorted, equal ones beside each other
    std::size_t chunk_count = 0;
    double requests = 0.0;  // used without a list: so many of `chunk`
    Chunk chunk{};
};

struct Tables {
    Line tokens, sampled;
    Grid decode, prefill, more;
    double per_octave = 8.0, host_step_s = 0.0, host_sequence_s = 0.0;
    bool windowed = false;  // a layer sees a window: a mean context does not stand for all

    // Add the cost of a step on one plane to `out`; the first fault stops.
    Fault cost(const Step &step, int plane, double &out) const;

  private:
    Place place(double x) const;
    bool beyond(const Place &place, std::size_t size) const { return place.low + 1 >= size; }
    Fault attend(const Step &step, int plane, double &out) const;
    Fault fill(const Chunk &chunk, double number, int plane, double &out) const;
};

}  // namespace archwright::steps
