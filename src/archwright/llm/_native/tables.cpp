#include "tables.hpp"

#include <algorithm>
#include <cmath>

namespace archwright::steps {

double Line::at(int plane, double x) const {
    const auto low = static_cast<std::size_t>(x);
    const double *here = values.data() + static_cast<std::size_t>(plane) * size + low;
    return here[0] + (x - static_cast<double>(low)) * (here[1] - here[0]);
}

double Grid::at(int plane, const Place &row, const Place &column) const {
    const double *here =
        values.data() + (static_cast<std::size_t>(plane) * rows + row.low) * columns + column.low;
    const double lower = here[0] + column.part * (here[1] - here[0]);
    here += columns;
    const double upper = here[0] + column.part * (here[1] - here[0]);
    return lower + row.part * (upper - lower);
}

Place Tables::place(double x) const {
    const double index = std::log2(x) * per_octave;
    const auto low = static_cast<std::size_t>(index);
    return {low, index - static_cast<double>(low)};
}

namespace {

// The last point of an axis belongs to the cell before it.
Place within(Place place, std::size_t size) {
    if (place.low + 1 == size && place.part <= 1e-9) return {size - 2, 1.0};
    return place;
}

}  // namespace

Fault Tables::attend(const Step &step, int plane, double &out) const {
    const Place row = within(place(step.batch), decode.rows);
    if (beyond(row, decode.rows)) return Fault::batch;
    if (step.decodes == nullptr || !windowed) {
        const Place column = within(place(step.mean_context), decode.columns);
        if (beyond(column, decode.columns)) return Fault::context;
        out += decode.at(plane, row, column);
        return Fault::none;
    }
    double sum = 0.0;
    const auto number = static_cast<std::size_t>(step.batch);
    for (std::size_t i = 0; i < number; ++i) {
        const Place column = within(place(static_cast<double>(step.decodes[i])), decode.columns);
        if (beyond(column, decode.columns)) return Fault::context;
        sum += decode.at(plane, row, column);
    }
    out += sum / step.batch;
    return Fault::none;
}

Fault Tables::fill(const Chunk &chunk, double number, int plane, double &out) const {
    const Place row = within(place(chunk.query), prefill.rows);
    const Place column = within(place(chunk.context), prefill.columns);
    if (beyond(row, prefill.rows)) return Fault::tokens;
    if (beyond(column, prefill.columns)) return Fault::context;
    out += std::min(number, 1.0) * prefill.at(plane, row, column);
    if (number > 1.0) out += (number - 1.0) * more.at(plane, row, column);
    return Fault::none;
}

Fault Tables::cost(const Step &step, int plane, double &out) const {
    double requests = step.requests, new_tokens = step.requests * step.chunk.query;
    if (step.chunks != nullptr) {
        requests = static_cast<double>(step.chunk_count);
        new_tokens = 0.0;
        for (std::size_t i = 0; i < step.chunk_count; ++i) new_tokens += step.chunks[i].query;
    }
    const double all = step.batch + new_tokens, heads = step.batch + requests;
    if (!tokens.holds(all)) return Fault::tokens;
    if (!sampled.holds(heads)) return Fault::sequences;
    out += tokens.at(plane, all) + sampled.at(plane, heads);
    if (step.batch > 0.0) {
        const Fault fault = attend(step, plane, out);
        if (fault != Fault::none) return fault;
    }
    if (step.chunks == nullptr && requests > 0.0) {
        const Fault fault = fill(step.chunk, requests, plane, out);
        if (fault != Fault::none) return fault;
    }
    for (std::size_t i = 0; step.chunks != nullptr && i < step.chunk_count;) {
        std::size_t next = i + 1;
        while (next < step.chunk_count && step.chunks[next].query == step.chunks[i].query &&
               step.chunks[next].context == step.chunks[i].context)
            ++next;
        const Fault fault = fill(step.chunks[i], static_cast<double>(next - i), plane, out);
        if (fault != Fault::none) return fault;
        i = next;
    }
    if (plane == 0) out += host_step_s + host_sequence_s * heads;
    return Fault::none;
}

}  // namespace archwright::steps
