using System.Text;
using System.Text.Json;

namespace AmbientMesh.Samples.Load;

/// <summary>What became of the connections so far. Thread-safe.</summary>
internal sealed class LoadCounts
{
    private readonly Lock _gate = new();
    private readonly SortedDictionary<string, int> _reasons = new(StringComparer.Ordinal);
    private int _made, _failed, _reset, _longLivedOpened, _longLivedFinished, _longLivedBroken, _longLivedOpen;
    private long _messages;
    private TimeSpan _slowestConnection, _longestPause;

    /// <summary>Whether every connection got its answer.</summary>
    public bool IsWithoutLoss
    {
        get { lock (_gate) return _failed + _reset + _longLivedBroken == 0; }
    }

    /// <summary>A new connection got its answer and ended by itself.</summary>
    public void Made(TimeSpan took)
    {
        lock (_gate)
        {
            _made++;
            if (took > _slowestConnection) _slowestConnection = took;
        }
    }

    /// <summary>A new connection got no answer: never established, or established and then cut off.</summary>
    public void Lost(LoadFailure failure)
    {
        lock (_gate)
        {
            if (failure.WasEstablished) _reset++;
            else _failed++;
            Count($"new: {failure.Reason}");
        }
    }

    public void LongLivedOpened()
    {
        lock (_gate)
        {
            _longLivedOpened++;
            _longLivedOpen++;
        }
    }

    /// <summary>A long-lived connection ended in order at the end of its life.</summary>
    public void LongLivedFinished()
    {
        lock (_gate)
        {
            _longLivedOpen--;
            _longLivedFinished++;
        }
    }

    /// <summary>A long-lived connection got its answer; <paramref name="pause"/> is the time since it asked.</summary>
    public void Message(TimeSpan pause)
    {
        lock (_gate)
        {
            _messages++;
            if (pause > _longestPause) _longestPause = pause;
        }
    }

    /// <summary>A long-lived connection ended though nobody asked it to; one that could not be opened counts among the new ones that failed.</summary>
    public void LongLivedBroken(LoadFailure failure)
    {
        lock (_gate)
        {
            if (failure.WasEstablished)
            {
                _longLivedOpen--;
                _longLivedBroken++;
            }
            else
            {
                _failed++;
            }
            Count($"long-lived: {failure.Reason}");
        }
    }

    /// <summary>One JSON object on one line.</summary>
    public string ToJson(TimeSpan running, bool isOver)
    {
        using var text = new MemoryStream();
        using (var json = new Utf8JsonWriter(text))
        {
            lock (_gate) Write(json, running, isOver);
        }
        return Encoding.UTF8.GetString(text.ToArray());
    }

    private void Write(Utf8JsonWriter json, TimeSpan running, bool isOver)
    {
        json.WriteStartObject();
        json.WriteBoolean("over", isOver);
        json.WriteNumber("seconds", Math.Round(running.TotalSeconds, 1));
        json.WriteNumber("made", _made);
        json.WriteNumber("failed", _failed);
        json.WriteNumber("reset", _reset);
        json.WriteNumber("longLivedOpened", _longLivedOpened);
        json.WriteNumber("longLivedFinished", _longLivedFinished);
        json.WriteNumber("longLivedOpen", _longLivedOpen);
        json.WriteNumber("longLivedBroken", _longLivedBroken);
        json.WriteNumber("longLivedMessages", _messages);
        json.WriteNumber("slowestConnectionMs", (long)_slowestConnection.TotalMilliseconds);
        json.WriteNumber("longestPauseMs", (long)_longestPause.TotalMilliseconds);
        json.WriteStartObject("reasons");
        foreach (var (reason, count) in _reasons) json.WriteNumber(reason, count);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private void Count(string reason) => _reasons[reason] = _reasons.GetValueOrDefault(reason) + 1;
}
