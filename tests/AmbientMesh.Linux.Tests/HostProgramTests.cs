namespace AmbientMesh.Linux.Tests;

public class HostProgramTests
{
    [Fact]
    public async Task Input_output_and_environment_reach_the_program()
    {
        var call = new ProgramCall("sh", "-c", "cat; echo $GREETING") { Input = "in ", Environment = new Dictionary<string, string> { ["GREETING"] = "hello" } };
        var result = (await HostProgram.RunAsync(call, Patience.Token)).Required();
        Assert.Equal("in hello\n", result.Output);
    }

    [Fact]
    public async Task A_failure_names_the_program_and_its_words()
    {
        var result = await HostProgram.RunAsync(new ProgramCall("sh", "-c", "echo 'no such table' >&2; exit 3"), Patience.Token);
        var failure = Assert.Throws<ProgramFailedException>(result.Required);
        Assert.Equal(3, failure.ExitCode);
        Assert.Contains("no such table", failure.Message);
    }

    [Fact]
    public async Task A_missing_program_is_named()
    {
        var failure = await Assert.ThrowsAsync<ProgramFailedException>(() => HostProgram.RunAsync(new ProgramCall("no-such-program-here"), Patience.Token));
        Assert.Contains("no-such-program-here", failure.Message);
    }

    [Fact]
    public async Task A_program_that_hangs_is_killed_at_its_deadline()
    {
        var call = new ProgramCall("sleep", "1000") { Deadline = TimeSpan.FromMilliseconds(100) };
        var failure = await Assert.ThrowsAsync<ProgramFailedException>(() => HostProgram.RunAsync(call, Patience.Token));
        Assert.Contains("0.1 s", failure.Message);
    }

    [Fact]
    public async Task A_program_runs_inside_the_namespace_it_was_given()
    {
        using var inside = await Kernel.NamespaceAsync();
        Assert.Equal($"net:[{inside.Id.Inode}]", (await Kernel.ShAsync(inside, "readlink /proc/self/ns/net")).Trim());
    }
}
