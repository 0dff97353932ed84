using System.Buffers.Binary;
using System.Diagnostics;
using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Fuzz;

/// <summary>How far a campaign has come.</summary>
internal sealed record Progress(double Seconds, long Executions, int Edges, int Inputs, int Findings)
{
    public static Progress None { get; } = new(0, 0, 0, 0, 0);

    public static Progress Read(string file) =>
        File.Exists(file) && File.ReadAllText(file).Split(' ') is [var seconds, var executions, var edges, var inputs, var findings]
            ? new Progress(double.Parse(seconds), long.Parse(executions), int.Parse(edges), int.Parse(inputs), int.Parse(findings)) : None;

    public void Write(string file) => File.WriteAllText(file, $"{Seconds:0.0} {Executions} {Edges} {Inputs} {Findings}");

    public Progress Plus(Progress other) => new(
        Seconds + other.Seconds, Executions + other.Executions, Math.Max(Edges, other.Edges), Math.Max(Inputs, other.Inputs), Findings + other.Findings);
}

/// <summary>Mutates, runs, and keeps the inputs that reach new code, for as long as told. Runs inside the instrumented copy.</summary>
internal sealed class Campaign : IDisposable
{
    private const int MaxFindingsPerRun = 20;

    private readonly FuzzTarget _target;
    private readonly string _folder;
    private readonly Random _random;
    private readonly Mutator _mutator;
    private readonly List<byte[]> _inputs = [];
    private readonly HashSet<string> _faults = [];
    private readonly SafeFileHandle _current;
    private long _executions;
    private long _underWaySince;

    public Campaign(FuzzTarget target, string folder, int seed)
    {
        _target = target;
        _folder = Directory.CreateDirectory(folder).FullName;
        _random = new Random(seed);
        _mutator = new Mutator(_random, [.. target.Words()], target.MaxBytes);
        _current = File.OpenHandle(Path.Combine(folder, "current"), FileMode.Create, FileAccess.Write);
    }

    /// <summary>Where the input under way stands, for the case that it takes the process down.</summary>
    public static byte[] InputUnderWay(string folder)
    {
        var file = File.ReadAllBytes(Path.Combine(folder, "current"));
        return file.Length < 4 ? [] : file[4..(4 + BinaryPrimitives.ReadInt32LittleEndian(file))];
    }

    /// <returns>Findings of this run.</returns>
    public int Run(TimeSpan time)
    {
        var started = Stopwatch.GetTimestamp();
        using var watchdog = new Timer(_ => EndWhenStuck(), null, TimeSpan.FromSeconds(5), TimeSpan.FromSeconds(5));
        using var reports = new Timer(_ => Report(started), null, TimeSpan.FromSeconds(2), TimeSpan.FromSeconds(2));
        foreach (var seed in _target.Seeds().Concat(Corpus.Kept(_target).Select(k => k.Input)).Concat(Corpus.In(Path.Combine(_folder, "corpus")).Select(k => k.Input)))
            Try(seed.Length <= _target.MaxBytes ? seed : seed[.._target.MaxBytes], keepAlways: _inputs.Count == 0);
        while (Stopwatch.GetElapsedTime(started) < time && _faults.Count < MaxFindingsPerRun) Try(_mutator.Next(Pick(), Pick()), keepAlways: false);
        Report(started);
        return _faults.Count;
    }

    public void Dispose() => _current.Dispose();

    // Half of the time one of the newest, which are the least explored.
    private byte[] Pick() => _inputs[_random.Next(2) == 0 ? _random.Next(_inputs.Count) : Math.Max(0, _inputs.Count - 1 - _random.Next(16))];

    private void Try(byte[] input, bool keepAlways)
    {
        Announce(input);
        Coverage.Begin();
        Volatile.Write(ref _underWaySince, Stopwatch.GetTimestamp());
        var fault = Trial.Of(_target, input);
        Volatile.Write(ref _underWaySince, 0);
        _executions++;
        if (fault is not null) Found(input, fault);
        else if (Coverage.TakeNews() || keepAlways)
        {
            _inputs.Add(input);
            if (_executions > 1) Corpus.Keep(Path.Combine(_folder, "corpus"), input);
        }
    }

    private void Announce(byte[] input)
    {
        var record = new byte[4 + input.Length];
        BinaryPrimitives.WriteInt32LittleEndian(record, input.Length);
        input.CopyTo(record, 4);
        RandomAccess.Write(_current, record, 0);
    }

    private void Found(byte[] input, Fault fault)
    {
        if (!_faults.Add(fault.Key)) return;
        var small = Smaller(input, fault);
        var path = Corpus.Keep(Path.Combine(_folder, "findings"), small);
        File.WriteAllText(path + ".txt", fault.Text);
        Console.WriteLine($"{_target.Name}: found {fault.Key}: {fault.Text.Split('\n')[0]}\n  input ({small.Length} bytes) in {path}");
    }

    /// <summary>Leaves parts of the input out as long as it shows the same fault.</summary>
    private byte[] Smaller(byte[] input, Fault fault)
    {
        if (fault.Key is "slow") return input;
        for (var size = input.Length / 2; size > 0; size /= 2)
            for (var at = 0; at + size <= input.Length;)
            {
                byte[] without = [.. input[..at], .. input[(at + size)..]];
                Announce(without);
                if (Trial.Of(_target, without)?.Key == fault.Key) input = without;
                else at += size;
            }
        return input;
    }

    private void EndWhenStuck()
    {
        var since = Volatile.Read(ref _underWaySince);
        if (since != 0 && Stopwatch.GetElapsedTime(since) > TimeSpan.FromMinutes(1)) Environment.FailFast("an input did not end");
    }

    private void Report(long started) =>
        new Progress(Stopwatch.GetElapsedTime(started).TotalSeconds, _executions, Coverage.Edges, _inputs.Count, _faults.Count).Write(Path.Combine(_folder, "progress"));
}
