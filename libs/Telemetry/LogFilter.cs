using System.Diagnostics.CodeAnalysis;
using Microsoft.Extensions.Logging;

namespace AmbientMesh.Telemetry;

/// <summary>Which lines are written: a default level and levels for targets, changeable while running. Thread-safe.</summary>
/// <remarks>The form of RUST_LOG: <c>info</c>, <c>ztunnel::access=debug,warn</c>. A target covers everything below it (<c>a</c> covers <c>a::b</c>).</remarks>
public sealed class LogFilter
{
    private sealed record Rules(LogLevel Default, (string Target, LogLevel Level)[] Targets);

    private readonly Rules _initial;
    private volatile Rules _rules;

    private LogFilter(Rules initial) => _rules = _initial = initial;

    /// <summary>Raised by every change, so that loggers may drop what they cached.</summary>
    public int Generation { get; private set; }

    public static bool TryParse(string text, [NotNullWhen(true)] out LogFilter? filter, [NotNullWhen(false)] out string? problem)
    {
        filter = TryRead(text, new Rules(LogLevel.Information, []), out var rules, out problem) ? new LogFilter(rules) : null;
        return filter is not null;
    }

    /// <summary>As <see cref="TryParse"/>; throws <see cref="FormatException"/> naming the part that is no level.</summary>
    public static LogFilter Parse(string text) => TryParse(text, out var filter, out var problem) ? filter : throw new FormatException(problem);

    /// <summary>Merges directives into the rules in force; on failure nothing changes and <paramref name="problem"/> names the bad part.</summary>
    public bool TryChange(string text, [NotNullWhen(false)] out string? problem)
    {
        if (!TryRead(text, _rules, out var rules, out problem)) return false;
        _rules = rules;
        Generation++;
        return true;
    }

    /// <summary>Back to the rules at start.</summary>
    public void Reset()
    {
        _rules = _initial;
        Generation++;
    }

    public bool IsEnabled(string target, LogLevel level)
    {
        var rules = _rules;
        var limit = rules.Default;
        var matched = -1;
        foreach (var (prefix, prefixLevel) in rules.Targets)
        {
            if (prefix.Length <= matched || !Covers(prefix, target)) continue;
            matched = prefix.Length;
            limit = prefixLevel;
        }
        return level != LogLevel.None && limit != LogLevel.None && level >= limit;
    }

    /// <summary>The rules in force: targets first, then the default level.</summary>
    public override string ToString()
    {
        var rules = _rules;
        return string.Join(',', [.. rules.Targets.Select(t => $"{t.Target}={Name(t.Level)}"), Name(rules.Default)]);
    }

    /// <summary>Lower-case names of the levels, as they are written: error, warn, info, debug, trace, off.</summary>
    public static string Name(LogLevel level) => level switch
    {
        LogLevel.Trace => "trace",
        LogLevel.Debug => "debug",
        LogLevel.Information => "info",
        LogLevel.Warning => "warn",
        LogLevel.Error or LogLevel.Critical => "error",
        _ => "off",
    };

    private static bool Covers(string prefix, string target) =>
        target.StartsWith(prefix, StringComparison.Ordinal) &&
        (target.Length == prefix.Length || target.AsSpan(prefix.Length).StartsWith("::"));

    private static bool TryRead(string text, Rules from, out Rules rules, [NotNullWhen(false)] out string? problem)
    {
        rules = from;
        problem = null;
        var targets = from.Targets.ToList();
        foreach (var part in text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = part.IndexOf('=');
            if (!TryLevel(part[(equals + 1)..], out var level))
            {
                problem = part;
                return false;
            }
            if (equals < 0) rules = rules with { Default = level };
            else
            {
                var target = part[..equals];
                targets.RemoveAll(t => t.Target == target);
                targets.Add((target, level));
            }
        }
        rules = rules with { Targets = [.. targets] };
        return true;
    }

    private static bool TryLevel(string text, out LogLevel level)
    {
        level = text.ToLowerInvariant() switch
        {
            "trace" => LogLevel.Trace,
            "debug" => LogLevel.Debug,
            "info" => LogLevel.Information,
            "warn" or "warning" => LogLevel.Warning,
            "error" => LogLevel.Error,
            "off" => LogLevel.None,
            _ => (LogLevel)(-1),
        };
        return (int)level >= 0;
    }
}
