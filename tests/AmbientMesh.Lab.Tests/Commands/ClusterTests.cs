using System.Diagnostics;

namespace AmbientMesh.Lab.Tests.Commands;

/// <summary>What users and controllers meet in a lab, through kubectl.</summary>
public sealed class ClusterTests(LabFixture lab) : IClassFixture<LabFixture>
{
    [Fact]
    public async Task Pods_on_both_nodes_answer_by_service_address_and_name_over_both_families_and_a_pod_reaches_itself()
    {
        await lab.ApplyAsync("""
            # one document after the other
            ---
            {"apiVersion":"v1","kind":"Namespace","metadata":{"name":"web"}}
            ---
            {"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"web"},"spec":{"replicas":2,"selector":{"matchLabels":{"app":"web"}},
              "template":{"metadata":{"labels":{"app":"web"}},"spec":{"terminationGracePeriodSeconds":1,"containers":[{"name":"c","image":"host/socat",
               "command":["socat","TCP6-LISTEN:8080,fork,reuseaddr,ipv6only=0","SYSTEM:hostname"],"ports":[{"name":"http","containerPort":8080}],"readinessProbe":{"tcpSocket":{"port":"http"}}}]}}}}
            ---
            {"apiVersion":"v1","kind":"Service","metadata":{"name":"web","namespace":"web"},"spec":{"ipFamilyPolicy":"PreferDualStack","selector":{"app":"web"},"ports":[{"port":80,"targetPort":"http"}]}}
            """);
        await lab.KubectlAsync("-n", "web", "rollout", "status", "deploy/web", "--timeout=50s");
        var pods = (await lab.KubectlAsync("-n", "web", "get", "pods", "-o", "jsonpath={range .items[*]}{.metadata.name} {.spec.nodeName}{\"\\n\"}{end}")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["node-1", "node-2"], pods.Select(p => p.Split(' ')[1]).Order());
        var client = pods[0].Split(' ')[0];
        foreach (var family in (string[])["TCP4", "TCP6"])
        {
            var answers = await lab.KubectlAsync("-n", "web", "exec", client, "--", "sh", "-c", $"for i in $(seq 24); do socat -u {family}:web.web.svc.cluster.local:80 -; done");
            Assert.Equal(pods.Select(p => p.Split(' ')[0]).Order(), answers.Split('\n', StringSplitOptions.RemoveEmptyEntries).Distinct().Order());
        }
    }

    [Fact]
    public async Task A_pods_token_is_its_accounts_and_is_refused_what_no_role_allows()
    {
        await RunAsync("caller", "sleep", "1000");
        var answer = await lab.KubectlAsync("exec", "caller", "--", "sh", "-c", """
            S=/var/run/secrets/kubernetes.io/serviceaccount
            curl -s -m 10 --cacert $S/ca.crt -H "Authorization: Bearer $(cat $S/token)" https://kubernetes.default.svc/api/v1/namespaces/default/pods
            """);
        Assert.Contains("pods is forbidden: User \\\"system:serviceaccount:default:default\\\" cannot list resource \\\"pods\\\"", answer);
    }

    [Fact]
    public async Task Exec_carries_input_output_and_exit_code_and_gives_a_terminal_when_asked()
    {
        await RunAsync("execs", "sleep", "1000");
        var echoed = await lab.TryKubectlAsync(["exec", "-i", "execs", "--", "cat"], "through and back\n");
        Assert.Equal("through and back\n", echoed.Output);
        Assert.Equal(7, (await lab.TryKubectlAsync(["exec", "execs", "--", "sh", "-c", "exit 7"])).ExitCode);
        var listing = await lab.KubectlAsync("exec", "execs", "--", "sh", "-c", "cat /proc/1/cmdline | tr '\\0' ' '; id -u");
        Assert.Equal("sleep 1000 0\n", listing);
    }

    [Fact]
    public async Task A_container_that_fails_is_restarted_backed_off_and_remembered()
    {
        await RunAsync("crash", "sh", "-c", "echo run; echo bye > /dev/termination-log; exit 3");
        var state = await lab.EventuallyAsync(o => o.StartsWith("CrashLoopBackOff", StringComparison.Ordinal), "get", "pod", "crash", "-o",
            "jsonpath={.status.containerStatuses[0].state.waiting.reason} {.status.containerStatuses[0].lastState.terminated.exitCode} {.status.containerStatuses[0].lastState.terminated.message}");
        Assert.Equal("CrashLoopBackOff 3 bye\n", state);
        Assert.Equal("run\n", await lab.KubectlAsync("logs", "crash", "--previous"));
        Assert.Contains("Back-off restarting failed container c in pod crash_default", await lab.KubectlAsync("get", "events", "--field-selector", "involvedObject.name=crash"));
    }

    [Fact]
    public async Task A_changed_config_map_reaches_the_files_of_a_running_pod()
    {
        await lab.KubectlAsync("create", "configmap", "settings", "--from-literal=color=red");
        await lab.ApplyAsync("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"reader"},"spec":{"terminationGracePeriodSeconds":0,"volumes":[{"name":"v","configMap":{"name":"settings"}}],
             "containers":[{"name":"c","image":"host/sleep","args":["1000"],"envFrom":[{"configMapRef":{"name":"settings"}}],"volumeMounts":[{"name":"v","mountPath":"/v"}]}]}}
            """);
        await lab.KubectlAsync("wait", "--for=condition=Ready", "pod/reader", "--timeout=50s");
        await lab.KubectlAsync("create", "configmap", "later", "--from-literal=unused=1");
        await lab.ApplyAsync("""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"settings"},"data":{"color":"blue"}}""");
        await lab.EventuallyAsync(o => o == "blue", "exec", "reader", "--", "cat", "/v/color");
        Assert.Contains("color=red", await lab.KubectlAsync("exec", "reader", "--", "env"));   // the environment does not follow
    }

    [Fact]
    public async Task Ending_a_pod_runs_its_hook_then_TERM_then_KILL_and_leaves_nothing_on_the_node()
    {
        await lab.ApplyAsync("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"stubborn"},"spec":{"terminationGracePeriodSeconds":3,"nodeName":"node-1","containers":[{"name":"c","image":"host/sh",
             "command":["sh","-c","trap 'echo got TERM' TERM; echo up; while true; do sleep 0.1; done"],"lifecycle":{"preStop":{"exec":{"command":["sh","-c","echo hook > /proc/1/fd/1"]}}}}]}}
            """);
        await lab.EventuallyAsync(o => o.Contains("up", StringComparison.Ordinal), "logs", "stubborn");
        using var follow = Process.Start(new ProcessStartInfo("kubectl", ["--kubeconfig", lab.Paths.Kubeconfig, "logs", "-f", "stubborn"]) { RedirectStandardOutput = true })!;
        Assert.Equal("up", await follow.StandardOutput.ReadLineAsync(Patience.Token));   // it follows from here on
        var clock = Stopwatch.StartNew();
        await lab.KubectlAsync("delete", "pod", "stubborn");
        Assert.InRange(clock.Elapsed, TimeSpan.FromSeconds(2.5), TimeSpan.FromSeconds(20));
        Assert.Equal("hook\ngot TERM\n", await follow.StandardOutput.ReadToEndAsync(Patience.Token));
        await follow.WaitForExitAsync(Patience.Token);
        var left = await LabFixture.LabAsync("enter", "--name", lab.Name, "--node", "node-1", "--", "sh", "-c", "ps ax -o args | grep -c '[g]ot TERM'");
        Assert.Equal("0", left.Output.Trim());
    }

    [Fact]
    public async Task A_plugin_that_refuses_keeps_the_pod_from_starting_says_why_and_is_asked_again()
    {
        await lab.ApplyAsync("""{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"refused"}}""");
        await OnNodeAsync("node-2", """
            cat > /opt/cni/bin/refuse <<'END'
            #!/bin/sh
            input=$(cat)
            [ "$CNI_COMMAND" = ADD ] || exit 0
            case "$CNI_ARGS" in *K8S_POD_NAMESPACE=refused*) [ -e /run/allow ] || { echo '{"cniVersion":"1.0.0","code":103,"msg":"mesh enrolment refused","details":"no identity"}'; exit 1; };; esac
            echo "$input" | sed 's/.*"prevResult":\(.*\)}$/\1/'
            END
            chmod +x /opt/cni/bin/refuse
            sed -i 's/"type": "portmap"/"type": "refuse" }, { "type": "portmap"/' /etc/cni/net.d/10-mesh-lab.conflist
            """);
        await lab.ApplyAsync("""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"late","namespace":"refused"},"spec":{"nodeName":"node-2","terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"host/sleep","args":["1000"]}]}}
            """);
        await lab.EventuallyAsync(o => o.Contains("plugin type=\"refuse\" name=\"mesh-lab\" failed (add): mesh enrolment refused; no identity", StringComparison.Ordinal), "-n", "refused", "get", "events");
        Assert.Equal("Pending ContainerCreating", await lab.KubectlAsync("-n", "refused", "get", "pod", "late", "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].state.waiting.reason}"));
        await OnNodeAsync("node-2", "touch /run/allow");
        await lab.KubectlAsync("-n", "refused", "wait", "--for=condition=Ready", "pod/late", "--timeout=50s");
    }

    private async Task OnNodeAsync(string node, string script)
    {
        var result = await LabFixture.LabAsync("enter", "--name", lab.Name, "--node", node, "--", "sh", "-c", script);
        Assert.True(result.Succeeded, result.Error);
    }

    private async Task RunAsync(string name, params string[] command)
    {
        var words = string.Join(',', command.Select(w => System.Text.Json.JsonSerializer.Serialize(w)));
        await lab.ApplyAsync($$$"""
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"{{{name}}}"},"spec":{"terminationGracePeriodSeconds":0,"containers":[{"name":"c","image":"host/sh","command":[{{{words}}}]}]}}
            """);
        await lab.EventuallyAsync(o => o == "Running", "get", "pod", name, "-o", "jsonpath={.status.phase}");
    }
}
