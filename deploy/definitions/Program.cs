using AmbientMesh.Definitions;

if (args is not [var folder] || !Directory.Exists(folder))
{
    Console.Error.WriteLine("usage: mesh-definitions FOLDER   (writes one file for each kind)");
    return 2;
}
foreach (var (file, text) in Definition.All())
{
    var path = Path.Combine(folder, file);
    File.WriteAllText(path, text);
    Console.WriteLine(path);
}
return 0;
