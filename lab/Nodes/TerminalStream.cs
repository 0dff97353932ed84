using Microsoft.Win32.SafeHandles;

namespace AmbientMesh.Lab.Nodes;

/// <summary>The controlling side of a pseudo terminal as a stream; it ends when the last program on the other side has.</summary>
internal sealed class TerminalStream(SafeFileHandle terminal) : Stream
{
    private readonly FileStream _file = new(terminal, FileAccess.ReadWrite, bufferSize: 0, isAsync: false);

    public override bool CanRead => true;
    public override bool CanSeek => false;
    public override bool CanWrite => true;
    public override long Length => throw new NotSupportedException();
    public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

    public override int Read(byte[] buffer, int offset, int count)
    {
        try
        {
            return _file.Read(buffer, offset, count);
        }
        catch (IOException)
        {
            return 0;   // EIO: nobody holds the other side any more
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => _file.Write(buffer, offset, count);

    public override void Flush() => _file.Flush();
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();
    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing) _file.Dispose();
        base.Dispose(disposing);
    }
}
