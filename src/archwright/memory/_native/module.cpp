// The extension module: arrays in, a plain result out. The interpreter's lock is not held while
// the simulation runs.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <memory>

#include "dram.hpp"

namespace nb = nanobind;
using namespace archwright::dram;

namespace {

template <typename T>
using Column = nb::ndarray<const T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

Timing timing(const nb::dict &table) {
    const auto clocks = [&](const char *name) { return nb::cast<Clock>(table[name]); };
    Timing t{};
    t.banks = nb::cast<int>(table["banks"]);
    t.groups = nb::cast<int>(table["groups"]);
    t.burst = clocks("burst");
    t.rl = clocks("rl");
    t.wl = clocks("wl");
    t.rcd = clocks("rcd");
    t.ras = clocks("ras");
    t.rc = clocks("rc");
    t.rp = clocks("rp");
    t.rtp = clocks("rtp");
    t.faw = clocks("faw");
    t.refi = clocks("refi");
    t.rfc = clocks("rfc");
    t.rrd_s = clocks("rrd_s");
    t.rrd_l = clocks("rrd_l");
    t.ccd_s = clocks("ccd_s");
    t.ccd_l = clocks("ccd_l");
    t.read_to_write = clocks("read_to_write");
    t.write_to_read_s = clocks("write_to_read_s");
    t.write_to_read_l = clocks("write_to_read_l");
    t.write_to_pre = clocks("write_to_pre");
    t.read_done = clocks("read_done");
    t.write_done = clocks("write_done");
    return t;
}

Controller controller(const nb::dict &table) {
    const auto number = [&](const char *name) { return nb::cast<int>(table[name]); };
    return {
        static_cast<PagePolicy>(number("page_policy")),
        static_cast<Scheduler>(number("scheduler")),
        static_cast<Buffer>(number("scheduler_buffer")),
        number("request_buffer_size"),
        static_cast<Order>(number("resp_queue")),
        number("refresh_policy") != 0,
        number("refresh_max_postponed"),
        number("refresh_max_pulledin"),
        static_cast<Arbiter>(number("arbiter")),
        number("max_active_transactions"),
    };
}

nb::dict run(Column<std::int64_t> offered, Column<std::uint8_t> write, Column<std::uint8_t> bank,
             Column<std::uint32_t> row, Column<std::uint64_t> address, std::int64_t trace_period,
             std::int64_t memory_period, const nb::dict &timings, const nb::dict &control,
             bool record) {
    const std::size_t n = offered.shape(0);
    if (n == 0 || write.shape(0) != n || bank.shape(0) != n || row.shape(0) != n ||
        address.shape(0) != n)
        throw nb::value_error("the columns of a trace have one length, at least 1");
    const Timing t = timing(timings);
    const Controller c = controller(control);
    if (t.banks < 1 || t.banks > 64 || t.groups < 1 || t.banks % t.groups != 0)
        throw nb::value_error("1 to 64 banks in equal groups");
    for (std::size_t i = 0; i < n; ++i)
        if (bank.data()[i] >= t.banks) throw nb::value_error("a bank beyond the device");
    const Requests requests{static_cast<std::int64_t>(n), offered.data(), write.data(),
                            bank.data(), row.data(), address.data(), trace_period, memory_period};
    auto outcome = std::make_unique<Outcome>();
    {
        nb::gil_scoped_release unlocked;
        *outcome = simulate(requests, t, c, record);
    }
    static constexpr const char *names[command_kinds] = {"ACT", "PRE", "RD", "WR",
                                                         "RDA", "WRA", "PREA", "REF"};
    nb::dict counts;
    for (int k = 0; k < command_kinds; ++k) counts[names[k]] = outcome->counts[k];
    nb::dict result;
    result["cycles"] = outcome->cycles;
    result["counts"] = counts;
    result["precharges"] = outcome->precharges;
    result["row_hits"] = outcome->hits;
    result["row_misses"] = outcome->misses;
    result["row_conflicts"] = outcome->conflicts;
    result["active_clocks"] = outcome->active_clocks;
    result["precharged_clocks"] = outcome->precharged_clocks;
    if (record) {
        nb::list log;
        for (const auto &[clock, command, b, r, request] : outcome->log)
            log.append(nb::make_tuple(clock, names[static_cast<int>(command)], b, r, request));
        result["log"] = log;
    }
    auto *latency = new std::vector<std::int32_t>(std::move(outcome->latency));
    nb::capsule owner(latency,
                      [](void *p) noexcept { delete static_cast<std::vector<std::int32_t> *>(p); });
    result["latency"] =
        nb::ndarray<nb::numpy, std::int32_t, nb::ndim<1>>(latency->data(), {n}, owner);
    return result;
}

}  // namespace

NB_MODULE(_engine, module) {
    module.def("simulate_dram", &run, "Run one trace through a controller and its memory.");
}
