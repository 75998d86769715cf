// The extension module: tables once, then steps by the array. The interpreter's lock is not held
// while a batch is looked up.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "tables.hpp"

namespace nb = nanobind;
using namespace archwright::steps;

namespace {

using Plane2 = nb::ndarray<const double, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Plane3 = nb::ndarray<const double, nb::ndim<3>, nb::c_contig, nb::device::cpu>;
using Numbers = nb::ndarray<const double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Whole = nb::ndarray<const std::int64_t, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
using Pairs = nb::ndarray<const std::int64_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Out = nb::ndarray<double, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Line line(const Plane2 &from) {
    return {{from.data(), from.data() + from.size()}, from.shape(1)};
}

Grid grid(const Plane3 &from) {
    return {{from.data(), from.data() + from.size()}, from.shape(1), from.shape(2)};
}

// Read the lists of one step; chunks are copied and sorted, so that equal ones lie together.
Fault read(const std::int64_t *pairs, std::size_t chunk_count, const std::int64_t *decodes,
           std::size_t decode_count, std::vector<Chunk> &chunks, Step &step) {
    chunks.clear();
    for (std::size_t i = 0; i < chunk_count; ++i) {
        const std::int64_t query = pairs[2 * i], context = pairs[2 * i + 1];
        if (query < 1) return Fault::length;
        if (query > context) return Fault::order;
        chunks.push_back({static_cast<double>(query), static_cast<double>(context)});
    }
    if (chunk_count > 1)
        std::sort(chunks.begin(), chunks.end(), [](const Chunk &a, const Chunk &b) {
            return a.query != b.query ? a.query < b.query : a.context < b.context;
        });
    std::int64_t total = 0, least = 1;
    for (std::size_t i = 0; i < decode_count; ++i) {
        total += decodes[i];
        least = std::min(least, decodes[i]);
    }
    if (least < 1) return Fault::length;
    step = Step{};
    step.batch = static_cast<double>(decode_count);
    step.mean_context = decode_count ? static_cast<double>(total) / step.batch : 1.0;
    step.decodes = decodes;
    step.chunks = chunks.data();
    step.chunk_count = chunk_count;
    if (chunks.empty()) step.chunks = nullptr;
    return Fault::none;
}

Fault check(const Step &step) {
    const auto count = [](double x) { return x == 0.0 || x >= 1.0; };
    if (!count(step.batch) || !count(step.requests)) return Fault::count;
    if (step.batch > 0.0 && !(step.mean_context >= 1.0)) return Fault::length;
    if (step.requests > 0.0 && !(step.chunk.query >= 1.0)) return Fault::length;
    if (step.requests > 0.0 && !(step.chunk.query <= step.chunk.context)) return Fault::order;
    return Fault::none;
}

// Every function answers (place of the first step that cannot be, its fault), (-1, 0) for none.
using Answer = std::pair<std::int64_t, int>;

nb::tuple answer(const Answer &found) { return nb::make_tuple(found.first, found.second); }

nb::tuple compositions(const Tables &tables, const Numbers &batch, const Numbers &context,
                       const Numbers &requests, const Numbers &query, const Numbers &end,
                       int plane, const Out &out) {
    Answer found{-1, 0};
    const std::size_t size = out.shape(0);
    for (const Numbers *each : {&batch, &context, &requests, &query, &end})
        if (each->shape(0) != size) throw std::invalid_argument("arrays of unequal length");
    {
        nb::gil_scoped_release release;
        for (std::size_t i = 0; i < size && found.first < 0; ++i) {
            Step step{};
            step.batch = batch.data()[i];
            step.mean_context = context.data()[i];
            step.requests = requests.data()[i];
            step.chunk = {query.data()[i], end.data()[i]};
            double seconds = 0.0;
            Fault fault = check(step);
            if (fault == Fault::none) fault = tables.cost(step, plane, seconds);
            out.data()[i] = seconds;
            if (fault != Fault::none)
                found = {static_cast<std::int64_t>(i), static_cast<int>(fault)};
        }
    }
    return answer(found);
}

nb::tuple lists(const Tables &tables, const Pairs &chunks, const Whole &chunk_ends,
                const Whole &decodes, const Whole &decode_ends, int plane, const Out &out) {
    const std::size_t size = out.shape(0);
    if (chunk_ends.shape(0) != size || decode_ends.shape(0) != size)
        throw std::invalid_argument("arrays of unequal length");
    const auto checked = [size](const Whole &ends, std::size_t total) {
        std::int64_t before = 0;
        for (std::size_t i = 0; i < size; ++i) {
            if (ends.data()[i] < before || ends.data()[i] > static_cast<std::int64_t>(total))
                throw std::invalid_argument("ends that fall, or lie beyond their list");
            before = ends.data()[i];
        }
    };
    checked(chunk_ends, chunks.shape(0));
    checked(decode_ends, decodes.shape(0));
    if (chunks.shape(1) != 2) throw std::invalid_argument("chunks that are not pairs");
    Answer found{-1, 0};
    {
        nb::gil_scoped_release release;
        std::vector<Chunk> room;
        std::int64_t chunk = 0, sequence = 0;
        for (std::size_t i = 0; i < size && found.first < 0; ++i) {
            Step step{};
            double seconds = 0.0;
            Fault fault = read(chunks.data() + 2 * chunk,
                               static_cast<std::size_t>(chunk_ends.data()[i] - chunk),
                               decodes.data() + sequence,
                               static_cast<std::size_t>(decode_ends.data()[i] - sequence), room,
                               step);
            if (fault == Fault::none) fault = tables.cost(step, plane, seconds);
            out.data()[i] = seconds;
            chunk = chunk_ends.data()[i];
            sequence = decode_ends.data()[i];
            if (fault != Fault::none)
                found = {static_cast<std::int64_t>(i), static_cast<int>(fault)};
        }
    }
    return answer(found);
}

nb::tuple one(const Tables &tables, const Pairs &chunks, const Whole &decodes, int plane) {
    if (chunks.shape(1) != 2) throw std::invalid_argument("chunks that are not pairs");
    std::vector<Chunk> room;
    Step step{};
    double seconds = 0.0;
    Fault fault =
        read(chunks.data(), chunks.shape(0), decodes.data(), decodes.shape(0), room, step);
    if (fault == Fault::none) fault = tables.cost(step, plane, seconds);
    return nb::make_tuple(seconds, static_cast<int>(fault));
}

}  // namespace

NB_MODULE(_steps, module) {
    nb::class_<Tables>(module, "Tables")
        .def(
            "__init__",
            [](Tables *self, const Plane2 &tokens, const Plane2 &sampled, const Plane3 &decode,
               const Plane3 &prefill, const Plane3 &more, double per_octave, double host_step_s,
               double host_sequence_s, bool windowed) {
                for (const std::size_t depth : {tokens.shape(0), sampled.shape(0),
                                                decode.shape(0), prefill.shape(0), more.shape(0)})
                    if (depth != planes) throw std::invalid_argument("tables of three planes");
                new (self) Tables{line(tokens),  line(sampled), grid(decode),
                                  grid(prefill), grid(more),    per_octave,
                                  host_step_s,   host_sequence_s, windowed};
            },
            nb::arg("tokens"), nb::arg("sampled"), nb::arg("decode"), nb::arg("prefill"),
            nb::arg("more"), nb::arg("per_octave"), nb::arg("host_step_s"),
            nb::arg("host_sequence_s"), nb::arg("windowed"))
        .def("compositions", &compositions)
        .def("lists", &lists)
        .def("one", &one);
}
